import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from fewbench.core.errors import UsageError
from fewbench.methods.linear.dp_linear_probe import DPLinearProbe, delta_of, noise_multiplier, tree_noise
from fewbench.tasks.episodes import Episodes

Optimizer = Literal["dp-sgd", "dp-ftrl"]
PUBLIC = 1e9  # an epsilon that needs next to no noise


def test_noise_of_one_step_is_that_of_the_analytic_gaussian_mechanism():
    assert noise_multiplier(1.0, 1e-5, 1) == pytest.approx(3.7306, abs=1e-3)  # Balle and Wang 2018
    assert noise_multiplier(1.0, 1e-5, 25) == pytest.approx(5 * noise_multiplier(1.0, 1e-5, 1), rel=1e-9)
    assert delta_of(0.0, 1.0, 1) == pytest.approx(math.erf(0.5 / math.sqrt(2)))  # the total variation of two normals
    assert noise_multiplier(8.0, 0.04, 50) < noise_multiplier(1.0, 0.04, 50) < noise_multiplier(1.0, 0.001, 50)


@pytest.mark.parametrize(("epsilon", "delta", "steps"), [(1.0, 1e-5, 1), (8.0, 0.04, 50), (2.0, 1e-3, 200)])
def test_the_accountant_of_google_agrees(epsilon: float, delta: float, steps: int):
    accounting = pytest.importorskip("dp_accounting")
    accountant = accounting.pld.PLDAccountant()
    step = accounting.GaussianDpEvent(noise_multiplier(epsilon, delta, steps))
    accountant.compose(accounting.SelfComposedDpEvent(step, steps))
    assert accountant.get_epsilon(delta) == pytest.approx(epsilon, rel=0.01)


@pytest.mark.parametrize(("batches", "steps"), [(8, 24), (6, 15), (1, 50)])
def test_the_accountant_of_google_has_the_same_tree(batches: int, steps: int):
    accounting = pytest.importorskip("dp_accounting")
    method = DPLinearProbe(epsilon=4.0, delta=0.01, optimizer="dp-ftrl", batches=batches, steps=steps)
    sigma = method.noise(25)

    def accountant():
        return accounting.rdp.RdpAccountant(neighboring_relation=accounting.NeighboringRelation.REPLACE_SPECIAL)

    trees, gaussians = accountant(), accountant()
    passes, rest = divmod(steps, batches)
    trees.compose(accounting.SingleEpochTreeAggregationDpEvent(sigma, batches), passes)
    if rest:
        trees.compose(accounting.SingleEpochTreeAggregationDpEvent(sigma, rest))
    gaussians.compose(accounting.GaussianDpEvent(sigma), method.noisy_sums)
    assert trees.get_epsilon(0.01) == pytest.approx(gaussians.get_epsilon(0.01), rel=1e-9)
    assert 4.0 <= trees.get_epsilon(0.01) <= 1.3 * 4.0  # Rényi divergences only bound what is known exactly here


@pytest.mark.parametrize(("optimizer", "sums"), [("dp-sgd", 4), ("dp-ftrl", 3 * 4 + 2)])
def test_an_image_is_in_one_step_of_each_pass(optimizer: Optimizer, sums: int):
    method = DPLinearProbe(optimizer=optimizer, batches=8, steps=3 * 8 + 2)
    assert method.noisy_sums == sums
    assert method.noise(25) == noise_multiplier(8.0, 0.04, sums)


def cover(leaves: int) -> list[int]:
    """The last leaves of the fewest nodes of a binary tree that together hold the first so many leaves."""
    ends, start = [], 0
    while start < leaves:
        size = max(2**level for level in range(10) if start % 2**level == 0 and start + 2**level <= leaves)
        start += size
        ends.append(start)
    return ends


@pytest.mark.parametrize("leaves", [1, 2, 7, 8, 13])
def test_the_noise_of_a_sum_is_that_of_the_nodes_that_cover_it(leaves: int):
    nodes = torch.randn(2 * leaves, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    sums = torch.stack(list(tree_noise(nodes, leaves))).cumsum(dim=0)
    for t in range(1, leaves + 1):
        first = sum(nodes[end - 1] for end in cover(t))
        torch.testing.assert_close(sums[t - 1], first)
        second = sum(nodes[leaves + end - 1] for end in cover(t))  # a tree of its own, after all of the first
        torch.testing.assert_close(sums[leaves + t - 1], sums[leaves - 1] + second)


def test_the_variance_of_a_sum_counts_its_nodes():
    nodes = torch.randn(8, 100_000, generator=torch.Generator().manual_seed(0))
    variances = torch.stack(list(tree_noise(nodes, 8))).cumsum(dim=0).var(dim=1)
    torch.testing.assert_close(variances, torch.tensor([1.0, 1, 2, 1, 2, 2, 3, 1]), rtol=0.02, atol=0)


def test_a_tree_of_one_leaf_is_dp_sgd(make_episodes):
    episodes: Episodes = make_episodes()
    ftrl, sgd = DPLinearProbe(optimizer="dp-ftrl"), DPLinearProbe(optimizer="dp-sgd")
    torch.testing.assert_close(ftrl.classify(episodes), sgd.classify(episodes), rtol=0, atol=0)


def descended(support: np.ndarray, labels: np.ndarray, query: np.ndarray, ways: int, method: DPLinearProbe) -> np.ndarray:
    """The logits after clipped gradient descent without noise, image by image, each pass as one sum from where it started."""

    def rows(features: np.ndarray) -> np.ndarray:
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    weights = np.zeros((ways, support.shape[1]))
    start, total = weights, np.zeros_like(weights)
    for step in range(method.steps):
        if step % method.batches == 0:
            start, total = weights, np.zeros_like(weights)
        batch = np.arange(len(labels)) % method.batches == step % method.batches
        for row, label in zip(rows(support)[batch], labels[batch], strict=True):
            scores = np.exp(weights @ row)
            gradient = np.outer(scores / scores.sum() - np.eye(ways)[label], row)
            total += gradient * min(1, method.clip / np.linalg.norm(gradient))
        weights = start - method.learning_rate * method.batches / len(labels) * total
    return rows(query) @ weights.T


@pytest.mark.parametrize("clip", [0.3, 10.0])
@pytest.mark.parametrize(("optimizer", "batches"), [("dp-sgd", 1), ("dp-sgd", 3), ("dp-ftrl", 3)])
def test_with_no_need_for_noise_it_is_clipped_gradient_descent(make_episodes, clip: float, optimizer: Optimizer, batches: int):
    episodes: Episodes = make_episodes()
    method = DPLinearProbe(epsilon=PUBLIC, clip=clip, steps=7, learning_rate=2.0, optimizer=optimizer, batches=batches)
    assert method.noise(25) < 1e-3
    scores = method.classify(episodes)
    for i in range(len(episodes)):
        support, labels, query = (
            part[i].double().numpy() for part in (episodes.support, episodes.support_labels, episodes.query)
        )
        expected = descended(support, labels.astype(int), query, episodes.ways, method)
        np.testing.assert_allclose(scores[i].numpy(), expected, atol=0.02)


@pytest.mark.parametrize(("optimizer", "steps", "draws"), [("dp-sgd", 1, 1), ("dp-sgd", 4, 4), ("dp-ftrl", 4, 1)])
def test_the_noise_of_the_weights_has_the_deviation_that_epsilon_asks_for(
    make_episodes, optimizer: Optimizer, steps: int, draws: int
):
    episodes: Episodes = make_episodes()
    rate = 1e-3  # so small that the noise of a step hardly changes the gradients of the next
    method = DPLinearProbe(epsilon=1.0, steps=steps, batches=steps, learning_rate=rate, optimizer=optimizer)
    plain = replace(method, epsilon=PUBLIC)
    noisy = []
    for seed in range(400):
        episodes.seeds.copy_(torch.arange(len(episodes)) + 1000 * seed)
        noisy.append(method.classify(episodes) - plain.classify(episodes))
    images = int((episodes.support_labels[0] >= 0).sum())
    expected = rate * steps / images * method.noise(images) * math.sqrt(draws)  # features have the length 1
    assert float(torch.stack(noisy).std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"delta": 1.0}, {"clip": -1.0}, {"steps": 0}])
def test_impossible_parameters_are_refused(options: dict):
    with pytest.raises(UsageError, match=f"DPLinearProbe: {next(iter(options))}="):
        DPLinearProbe(**options)
