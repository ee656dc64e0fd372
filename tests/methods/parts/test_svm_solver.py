"""The multi-class support vector machine, against scikit-learn's and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.methods.base import one_hot
from fewbench.methods.linear.meta_opt_net import MetaOptNet, Scale
from fewbench.methods.parts.svm_solver import solve
from fewbench.tasks.episodes import Episodes


def reference_scores(episodes: Episodes, i: int, cost: float) -> np.ndarray:
    """Decision values [Q, N] of an episode by the dual coordinate descent of liblinear."""
    svm = pytest.importorskip("sklearn.svm")
    present = episodes.support_labels[i] >= 0
    support, labels = episodes.support[i, present].double().numpy(), episodes.support_labels[i, present].numpy()
    machine = svm.LinearSVC(multi_class="crammer_singer", C=cost, fit_intercept=False, tol=1e-9, max_iter=1_000_000)
    weights = machine.fit(support, labels).coef_
    if len(weights) == 1:  # of two classes it keeps the difference; the weights of all classes sum to 0
        weights = np.concatenate([-weights, weights]) / 2
    return episodes.query[i].double().numpy() @ weights.T


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cost", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("shape", ["equal", "unequal", "wide"])
def test_scores_are_those_of_liblinear(shape: str, cost: float, make_episodes, make_unequal_episodes):
    episodes: Episodes = {
        "equal": lambda: make_episodes(shots=5),
        "unequal": make_unequal_episodes,
        "wide": lambda: make_episodes(width=64),
    }[shape]()
    scores = MetaOptNet(cost=cost).classify(replace(episodes, learned=Scale())).detach()
    for i in range(len(episodes)):
        ways = int(episodes.class_mask[i].sum())
        np.testing.assert_allclose(scores[i, :, :ways], reference_scores(episodes, i, cost), rtol=1e-5, atol=1e-5)


def test_scores_are_multiplied_by_the_learned_scale(make_episodes):
    scale = Scale()
    plain = MetaOptNet().classify(replace(make_episodes(), learned=scale)).detach()
    torch.nn.init.constant_(scale.scale, 3.0)
    torch.testing.assert_close(MetaOptNet().classify(replace(make_episodes(), learned=scale)).detach(), 3 * plain)


@pytest.mark.parametrize("cost", [0.05, 1.0])
def test_gradients_are_those_of_finite_differences(cost: float, make_episodes):
    episodes: Episodes = make_episodes(count=2, ways=3, shots=2, queries=2, width=5)
    scale = Scale().double()

    def scores(support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        return MetaOptNet(cost=cost).classify(replace(episodes, support=support, query=query, learned=scale))

    features = [tensor.double().requires_grad_() for tensor in (episodes.support, episodes.query)]
    assert torch.autograd.gradcheck(scores, features, eps=1e-6, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_coefficients_are_feasible_and_zero_where_nothing_is(make_unequal_episodes):
    episodes: Episodes = make_unequal_episodes()
    present = episodes.support_labels >= 0
    support = episodes.support.double() * present[..., None]
    labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)
    found = solve(support @ support.transpose(1, 2), labels, episodes.class_mask)
    torch.testing.assert_close(found.sum(dim=2), torch.zeros_like(found[..., 0]))
    assert (found <= labels + 1e-12).all()
    assert not found[~present].any()
    assert not found.transpose(1, 2)[~episodes.class_mask].any()


@pytest.mark.parametrize("copies", [2, 5])
def test_images_that_are_given_twice_leave_a_solution(copies: int, make_episodes):
    episodes: Episodes = make_episodes(shots=1)
    more = replace(
        episodes,
        support=episodes.support.repeat(1, copies, 1),
        support_labels=episodes.support_labels.repeat(1, copies),
        learned=Scale(),
    )
    expected = MetaOptNet(cost=0.1 * copies).classify(replace(episodes, learned=Scale()))
    torch.testing.assert_close(MetaOptNet(cost=0.1).classify(more), expected, rtol=1e-4, atol=1e-5)


def test_a_machine_that_learns_nothing_is_refused():
    with pytest.raises(UsageError, match="cost=0: above 0"):
        MetaOptNet(cost=0)
