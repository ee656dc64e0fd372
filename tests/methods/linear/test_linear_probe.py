"""The linear probe against scikit-learn's logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.methods.linear import linear_probe
from fewbench.methods.linear.linear_probe import LinearProbe
from fewbench.tasks.episodes import Episodes

linear_model = pytest.importorskip("sklearn.linear_model")


def fitted(episodes: Episodes, i: int, cost: float, **settings: Any) -> np.ndarray:
    """Scores [Q, N] of episode i by scikit-learn; of two ways, its one decision value is the second's score."""
    present = episodes.support_labels[i] >= 0
    support, labels = episodes.support[i, present].double().numpy(), episodes.support_labels[i, present].numpy()
    probe = linear_model.LogisticRegression(C=cost, max_iter=100_000, **settings).fit(support, labels)
    decision = probe.decision_function(episodes.query[i].double().numpy())
    return np.stack([0 * decision, decision], axis=1) if decision.ndim == 1 else decision


def assert_scores(episodes: Episodes, scores: torch.Tensor, cost: float, **settings: Any) -> None:
    """The scores are scikit-learn's to 1e-3, up to a number a query."""
    for i in range(len(episodes)):
        found = scores[i, :, : int(episodes.class_mask[i].sum())].double().numpy()
        expected = fitted(episodes, i, cost, **settings)
        np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-3)


@pytest.fixture(params=["equal", "unequal", "one shot", "wide", "two ways"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return {
        "equal": lambda: make_episodes(shots=5),
        "unequal": make_unequal_episodes,
        "one shot": lambda: make_episodes(shots=1),
        "wide": lambda: make_episodes(shots=3, width=64),
        "two ways": lambda: make_episodes(ways=2, shots=4),
    }[request.param]()


@pytest.mark.parametrize("cost", [1e-4, 1e-2, 1.0, 100.0])
def test_scores_are_those_of_scikit_learn(episodes: Episodes, cost: float):
    assert_scores(episodes, LinearProbe(C=cost).classify(episodes), cost, tol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cost", [1e-6, 1e6])
def test_scores_at_the_ends_of_the_candidates_are_those_of_newtons_method(cost: float, make_episodes):
    """There scikit-learn's L-BFGS stops at 1e-3 or so from the minimum; its Newton's method is for classes of more than two."""
    episodes = make_episodes(shots=4, width=6)
    assert_scores(episodes, LinearProbe(C=cost).classify(episodes), cost, tol=1e-12, solver="newton-cholesky")


def test_features_that_lie_far_from_the_origin_change_nothing(make_episodes):
    near, far = make_episodes(shots=3), make_episodes(shots=3)
    far.support.add_(64)
    far.query.add_(64)
    torch.testing.assert_close(LinearProbe(C=10.0).classify(far), LinearProbe(C=10.0).classify(near), rtol=1e-3, atol=1e-3)


def test_normalised_features_have_length_1(make_episodes):
    episodes = make_episodes(shots=3)
    scores = LinearProbe(C=10.0, normalised=True).classify(episodes)
    for features in (episodes.support, episodes.query):
        features.div_(features.norm(dim=-1, keepdim=True))
    assert_scores(episodes, scores, 10.0, tol=1e-10)


def test_a_class_with_more_images_has_the_higher_intercept(make_episodes):
    """With features that say nothing the scores are the logarithms of the classes' shares."""
    episodes = make_episodes(count=1, ways=3, shots=2)
    episodes.support_labels[:] = torch.tensor([0, 0, 0, 1, 1, 2])
    episodes.support[:] = 1.0
    scores = LinearProbe(C=1.0).classify(episodes)
    expected = (torch.tensor([3.0, 2.0, 1.0]) / 6).log()
    expected = (expected - expected.mean()).expand(7, 3)
    torch.testing.assert_close(scores[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cost", [0.0, -1.0])
def test_a_c_that_is_not_above_0_is_refused(cost: float):
    with pytest.raises(UsageError, match=": above 0"):
        LinearProbe(C=cost)


def test_candidates_of_c_have_the_scores_that_each_has_alone(episodes: Episodes):
    candidates = [LinearProbe(C=cost) for cost in LinearProbe.choices["C"]]
    for candidate, scores in zip(candidates, candidates[0].classify_each(episodes, candidates), strict=True):
        alone = candidate.classify(episodes)
        difference = (scores - scores[..., :1] - alone + alone[..., :1]).masked_fill(~episodes.class_mask[:, None], 0)
        assert (difference.abs() <= 1e-3 + 1e-4 * alone.abs()).all()


def test_large_episodes_of_unequal_size_are_fitted_one_by_one(make_unequal_episodes, monkeypatch: pytest.MonkeyPatch):
    episodes = make_unequal_episodes()
    together = LinearProbe(C=1.0).classify(episodes)
    monkeypatch.setattr(linear_probe, "LARGE", 1)
    scores = LinearProbe(C=1.0).classify(episodes)
    assert_scores(episodes, scores, 1.0, tol=1e-10)
    assert not torch.equal(scores, together)
