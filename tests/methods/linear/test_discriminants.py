"""Scores of the linear machines and discriminants against their formulas in all D coordinates, one episode at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fewbench.methods.base import Method
from fewbench.methods.linear.lda import LDA
from fewbench.methods.linear.svm import SVM
from fewbench.methods.metric.mahalanobis import Mahalanobis
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.episodes import Episodes

Array = np.ndarray


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return make_episodes() if request.param == "equal" else make_unequal_episodes()


def compare(method: Method, formula, episodes: Episodes) -> None:
    """The scores are the formula's, up to a number for each query."""
    scores = method.classify(episodes).double().numpy()
    for i in range(len(episodes)):
        there, ways = episodes.support_labels[i] >= 0, int(episodes.class_mask[i].sum())
        support, query = episodes.support[i, there].double().numpy(), episodes.query[i].double().numpy()
        expected = formula(support, episodes.support_labels[i, there].numpy(), query, ways)
        found = scores[i, :, :ways]
        np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4)


def mahalanobis(query: Array, mean: Array, covariance: Array) -> Array:
    return np.einsum("qd,de,qe->q", query - mean, np.linalg.inv(covariance), query - mean)


@pytest.mark.parametrize("shrinkage", [0.2, 1.0])
def test_lda(episodes: Episodes, shrinkage: float):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        means = np.stack([support[labels == n].mean(axis=0) for n in range(ways)])
        within, centred = support - means[labels], support - support.mean(axis=0)
        variance = (centred**2).sum() / centred.size
        covariance = (1 - shrinkage) * within.T @ within / len(support) + shrinkage * variance * np.eye(support.shape[1])
        return np.stack([-mahalanobis(query, mean, covariance) / 2 for mean in means], axis=1)

    compare(LDA(shrinkage=shrinkage), formula, episodes)


def test_lda_is_scikit_learns_for_its_own_covariance(make_episodes):
    """Both shrink towards the identity; scikit-learn by the variance within the classes instead of that around the mean."""
    discriminant_analysis = pytest.importorskip("sklearn.discriminant_analysis")
    episodes: Episodes = make_episodes(shots=4)
    for i in range(len(episodes)):
        support, labels = episodes.support[i].double().numpy(), episodes.support_labels[i].numpy()
        means = np.stack([support[labels == n].mean(axis=0) for n in range(5)])
        own = ((support - means[labels]) ** 2).sum() / ((support - support.mean(axis=0)) ** 2).sum()
        theirs = 0.3 / (0.7 * own + 0.3)  # the shrinkage that gives the same covariance up to a factor
        reference = discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=theirs, priors=np.full(5, 0.2))
        expected = reference.fit(support, labels).predict(episodes.query[i].double().numpy())
        assert (LDA(shrinkage=0.3).classify(episodes)[i].argmax(dim=1).numpy() == expected).all()


def test_one_image_a_class_leaves_lda_the_nearest_class_mean(make_episodes):
    episodes: Episodes = make_episodes(shots=1)
    assert torch.equal(LDA().classify(episodes).argmax(dim=2), ProtoNet().classify(episodes).argmax(dim=2))


def test_mahalanobis(episodes: Episodes):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        beta = 3 * ((support - support.mean(axis=0)) ** 2).sum() / support.size
        whole = np.cov(support.T)
        scores = []
        for n in range(ways):
            own = support[labels == n]
            share = len(own) / (len(own) + 1)
            covariance = np.cov(own.T) if len(own) > 1 else np.zeros_like(whole)
            q = share * covariance + (1 - share) * whole + beta * np.eye(len(whole))
            scores.append(-mahalanobis(query, own.mean(axis=0), q))
        return np.stack(scores, axis=1)

    compare(Mahalanobis(regularization=3), formula, episodes)


def test_svm_has_the_margins_of_its_optimality_conditions(make_unequal_episodes):
    """An image whose margin is above 1 has no part in the weights, whatever its place: leaving it out changes no score."""
    episodes: Episodes = make_unequal_episodes()
    method = SVM(cost=1.0)
    own = method.classify(Episodes(**{**vars(episodes), "query": episodes.support}))  # [E, S, N]
    own = own.masked_fill(~episodes.class_mask[:, None], -torch.inf)
    labels = episodes.support_labels.clamp(min=0)[..., None]
    others = own.scatter(2, labels, -torch.inf).amax(dim=2)
    margin = own.gather(2, labels)[..., 0] - others  # [E, S]
    idle = (episodes.support_labels >= 0) & (margin > 1.001)
    assert 0 < idle.sum() < (episodes.support_labels >= 0).sum()
    left = Episodes(**{**vars(episodes), "support_labels": episodes.support_labels.masked_fill(idle, -1)})
    found, expected = (method.classify(one).masked_fill(~episodes.class_mask[:, None], 0) for one in (left, episodes))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
