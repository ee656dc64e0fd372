"""Scikit-learn's classifiers as methods."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError, UserError
from fewbench.methods.linear.scikit_learn import ScikitLearnMethod
from fewbench.tasks.episodes import Episodes

sklearn = pytest.importorskip("sklearn")
pytest.importorskip("sklearn.neighbors")


def predictions(path: str, values: dict, episodes: Episodes, i: int) -> np.ndarray:
    """Labels that the classifier itself predicts for the queries of episode i."""
    from sklearn.utils import all_estimators

    classifier = dict(all_estimators(type_filter="classifier"))[path.rpartition(".")[2]](**values)
    present = episodes.support_labels[i] >= 0
    return classifier.fit(episodes.support[i, present], episodes.support_labels[i, present]).predict(episodes.query[i])


@pytest.mark.parametrize("ways", [2, 5])
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("naive_bayes.GaussianNB", {}),
        ("neighbors.RadiusNeighborsClassifier", {"radius": 100.0, "weights": "distance"}),
        ("linear_model.RidgeClassifier", {}),
        ("linear_model.SGDClassifier", {"random_state": 3}),
        ("svm.SVC", {}),
    ],
)
def test_the_best_score_is_the_class_that_the_classifier_predicts(path: str, values: dict, ways: int, make_episodes):
    episodes: Episodes = make_episodes(ways=ways, shots=4)
    scores = ScikitLearnMethod(path, values).classify(episodes)
    for i in range(len(episodes)):
        assert scores[i].argmax(dim=-1).tolist() == predictions(path, values, episodes, i).tolist()


def test_a_classifier_with_nothing_but_predictions_scores_one_for_its_choice(make_episodes, monkeypatch: pytest.MonkeyPatch):
    class LastClass(sklearn.base.ClassifierMixin, sklearn.base.BaseEstimator):
        def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
            self.classes_ = np.unique(labels)

        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.full(len(features), self.classes_[-1])

    monkeypatch.setattr(sklearn.neighbors, "LastClass", LastClass, raising=False)
    scores = ScikitLearnMethod("neighbors.LastClass", {}).classify(make_episodes(ways=3))
    assert torch.equal(scores, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(scores))


def test_classes_that_an_episode_lacks_are_never_chosen(make_unequal_episodes):
    episodes: Episodes = make_unequal_episodes()
    scores = ScikitLearnMethod("naive_bayes.GaussianNB", {}).classify(episodes)
    for i in range(len(episodes)):
        expected = predictions("naive_bayes.GaussianNB", {}, episodes, i)
        assert scores[i].argmax(dim=-1).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("text", "value"), [("0.5", 0.5), ("7", 7), ("None", None), ("balanced", "balanced"), ("(3, 2)", (3, 2)), ("True", True)]
)
def test_text_values_are_read_as_literals(text: str, value: object):
    method = ScikitLearnMethod("linear_model.LogisticRegression", {"C": text})
    assert method.values == {"C": value}


def test_parameters_reach_the_classifier(make_episodes):
    episodes: Episodes = make_episodes(count=1)
    weak = ScikitLearnMethod("linear_model.LogisticRegression", {"C": "0.0001"}).classify(episodes)
    strong = ScikitLearnMethod("linear_model.LogisticRegression", {"C": "100"}).classify(episodes)
    assert weak.exp().max() < 0.25 < 0.9 < strong.exp().max()


def test_a_random_classifier_follows_the_seed_of_the_episode(make_episodes):
    episodes: Episodes = make_episodes()
    method = ScikitLearnMethod("tree.ExtraTreeClassifier", {})
    scores = method.classify(episodes)
    assert torch.equal(method.classify(episodes), scores)
    assert not torch.equal(method.classify(replace(episodes, seeds=episodes.seeds + 1)), scores)


def test_a_random_state_of_the_users_is_kept(make_episodes):
    episodes: Episodes = make_episodes()
    method = ScikitLearnMethod("tree.ExtraTreeClassifier", {"random_state": "5"})
    assert torch.equal(method.classify(replace(episodes, seeds=episodes.seeds + 1)), method.classify(episodes))


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("linear_model.LogisticRegresion", {}, "no scikit-learn class .* did you mean 'linear_model.LogisticRegression'"),
        ("LogisticRegression", {}, "did you mean 'linear_model.LogisticRegression'"),
        ("ensemble.HistGradientBoostingClasifier", {}, "did you mean 'ensemble.HistGradientBoostingClassifier'"),
        ("linear_model.Ridge", {}, "no scikit-learn classifier; did you mean 'linear_model.RidgeClassifier'"),
        ("cluster.KMeans", {}, "no scikit-learn classifier"),
        ("no_such_module.Thing", {}, "no scikit-learn class"),
        ("..os", {}, "no scikit-learn class"),
        ("multiclass.OneVsRestClassifier", {}, r"made of other classifiers \(estimator\)"),
        ("linear_model.LogisticRegression", {"c": 1}, "no parameter 'c'; did you mean 'C'"),
        ("linear_model.LogisticRegression", {"max_iterations": 1}, "did you mean 'max_iter'"),
    ],
)
def test_a_wrong_name_is_one_line_that_helps(path: str, values: dict, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        ScikitLearnMethod(path, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "values"), [("neighbors.KNeighborsClassifier", {}), ("linear_model.LogisticRegression", {"C": "'many'"})]
)
def test_a_classifier_that_fails_is_named_with_the_episode_and_the_reason(path: str, values: dict, make_episodes):
    episodes: Episodes = make_episodes(count=2, ways=3, shots=1)
    with pytest.raises(UserError, match=rf"sklearn:{path} failed on episode 0 of the batch: .+") as caught:
        ScikitLearnMethod(path, values).classify(episodes)
    assert "\n" not in str(caught.value)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(UserError, match=r"pip install scikit-learn"):
        ScikitLearnMethod("linear_model.LogisticRegression", {})


def test_warnings_of_single_fits_are_silenced(make_episodes):
    method = ScikitLearnMethod("linear_model.LogisticRegression", {"max_iter": "1"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.classify(make_episodes())
