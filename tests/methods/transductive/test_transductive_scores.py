"""Scores of each transductive method against its formulas, written out for one episode at a time in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fewbench.methods.base import Method
from fewbench.methods.transductive.alpha_tim import AlphaTIM
from fewbench.methods.transductive.bd_cspn import BDCSPN
from fewbench.methods.transductive.ilpc import ILPC
from fewbench.methods.transductive.laplacian_shot import LaplacianShot
from fewbench.methods.transductive.paddle import Paddle
from fewbench.methods.transductive.pt_map import PTMAP
from fewbench.methods.transductive.soft_kmeans import SoftKMeans
from fewbench.methods.transductive.tim import TIM
from fewbench.methods.transductive.transductive_finetuning import TransductiveFinetuning
from fewbench.tasks.episodes import Episodes

Array = np.ndarray
Formula = Callable[[Array, Array, Array, int], Array]  # support, labels, query, ways -> scores [Q, N]


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return make_episodes(queries=9) if request.param == "equal" else make_unequal_episodes(queries=9)


def compare(method: Method, formula: Formula, episodes: Episodes, tolerance: float = 2e-4) -> None:
    """The scores are the formula's, up to a number for each query."""
    scores = method.classify(episodes).double().numpy()
    for i in range(len(episodes)):
        there, ways = episodes.support_labels[i] >= 0, int(episodes.class_mask[i].sum())
        support, query = episodes.support[i, there].double().numpy(), episodes.query[i].double().numpy()
        expected = formula(support, episodes.support_labels[i, there].numpy(), query, ways)
        found = scores[i, :, :ways]
        difference = (found - found[:, :1]) - (expected - expected[:, :1])
        assert np.abs(difference).max() <= tolerance * max(1.0, np.abs(expected).max())


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def means_of(support: Array, labels: Array, ways: int) -> Array:
    return np.stack([support[labels == n].mean(axis=0) for n in range(ways)])


def squared_distances(x: Array, points: Array) -> Array:
    return ((x[:, None] - points[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_soft_kmeans(episodes: Episodes, steps: int):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        points, known = means_of(support, labels, ways), np.eye(ways)[labels]
        for _ in range(steps):
            parts = softmax(-4 * squared_distances(query, points))
            points = (known.T @ support + parts.T @ query) / (known.sum(axis=0) + parts.sum(axis=0))[:, None]
        return -4 * squared_distances(query, points)

    compare(SoftKMeans(steps=steps, scale=4), formula, episodes)


def rectified(support: Array, labels: Array, query: Array, ways: int, scale: float) -> Array:
    points, known = means_of(support, labels, ways), np.eye(ways)[labels]
    shifted = query + support.mean(axis=0) - query.mean(axis=0)
    own, asked = (unit(x) @ unit(points).T for x in (support, shifted))
    guessed = np.eye(ways)[asked.argmax(axis=1)]
    weights = np.concatenate([known * np.exp(scale * own), guessed * np.exp(scale * asked)])
    return (weights / weights.sum(axis=0)).T @ np.concatenate([support, shifted])


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_bd_cspn(episodes: Episodes, scale: float):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        return query @ unit(rectified(support, labels, query, ways, scale)).T

    compare(BDCSPN(scale=scale), formula, episodes)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_laplacian_shot(episodes: Episodes, neighbours: int):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        unary = -squared_distances(query, rectified(support, labels, query, ways, 10))
        order = squared_distances(query, query).argsort(axis=1)[:, 1:neighbours]  # without the query itself
        scores = unary
        for _ in range(6):
            predicted = softmax(scores)
            scores = unary + 0.7 * np.stack([predicted[near].sum(axis=0) for near in order])
        return scores

    compare(LaplacianShot(neighbours=neighbours, steps=6), formula, episodes)


def adam(points: Array, gradient: Callable[[Array], Array], steps: int, rate: float) -> Array:
    first, second = np.zeros_like(points), np.zeros_like(points)
    for step in range(1, steps + 1):
        g = gradient(points)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        points = points - rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return points


def descended(
    objective: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], steps: int = 12, rate: float = 0.01
) -> Formula:
    """Adam on an objective of support labels, support and query probabilities, with torch's own gradients in float64."""

    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        known = torch.eye(ways, dtype=torch.float64)[labels]

        def gradient(points: Array) -> Array:
            w = torch.from_numpy(points).requires_grad_()
            own, asked = (
                (-7.5 * ((torch.from_numpy(x)[:, None] - w[None]) ** 2).sum(dim=2)).softmax(dim=1) for x in (support, query)
            )
            return torch.autograd.grad(objective(known, own, asked), w)[0].numpy()

        points = adam(means_of(support, labels, ways), gradient, steps, rate)
        return -7.5 * squared_distances(query, points)

    return formula


def shannon(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.log()).sum(dim=-1)


def tsallis(p: torch.Tensor, alpha: float) -> torch.Tensor:
    return (1 - p.pow(alpha).sum(dim=-1)) / (alpha - 1)


def cross_entropy(known: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return -(known * own.log()).sum(dim=1).mean()


def test_tim_by_descent(episodes: Episodes):
    formula = descended(
        lambda known, own, asked: 0.2 * cross_entropy(known, own) - shannon(asked.mean(dim=0)) + 0.3 * shannon(asked).mean()
    )
    compare(TIM(solver="gd", steps=12, learning_rate=0.01, cross_entropy=0.2, conditional=0.3), formula, episodes, 2e-3)


@pytest.mark.parametrize("alpha", [2.0, 3.5])
def test_alpha_tim(episodes: Episodes, alpha: float):
    formula = descended(
        lambda known, own, asked: (
            cross_entropy(known, own) - tsallis(asked.mean(dim=0), alpha) + 0.5 * tsallis(asked, alpha).mean()
        )
    )
    compare(AlphaTIM(alpha=alpha, steps=12, learning_rate=0.01, conditional=0.5), formula, episodes, 2e-3)


def test_transductive_finetuning(episodes: Episodes):
    formula = descended(lambda known, own, asked: cross_entropy(known, own) + shannon(asked).mean())
    compare(TransductiveFinetuning(steps=12, learning_rate=0.01), formula, episodes, 2e-3)


def test_tim_by_alternation(episodes: Episodes):
    """Proposition 1 of the paper: the updates of q and of the prototypes."""
    weight, a = 0.1, 0.3

    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        points, known = means_of(support, labels, ways), np.eye(ways)[labels]
        ratio = len(support) / len(query)
        for _ in range(15):
            own, asked = (softmax(-7.5 * squared_distances(x, points)) for x in (support, query))
            q = asked ** (1 + a) / np.sqrt((asked ** (1 + a)).sum(axis=0))
            q /= q.sum(axis=1, keepdims=True)
            moved = weight / (1 + a) * (known.T @ support + own.sum(axis=0)[:, None] * points - own.T @ support)
            moved = moved + ratio * (q.T @ query + asked.sum(axis=0)[:, None] * points - asked.T @ query)
            points = moved / (weight / (1 + a) * known.sum(axis=0) + ratio * q.sum(axis=0))[:, None]
        return -7.5 * squared_distances(query, points)

    compare(TIM(solver="adm", steps=15, conditional=a), formula, episodes)


def test_pt_map(episodes: Episodes):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = (unit((np.maximum(x, 0) + 1e-6) ** 0.5) for x in (support, query))
        support, query = (unit(x - x.mean(axis=0)) for x in (support, query))
        points, known = means_of(support, labels, ways), np.eye(ways)[labels]
        plan = np.zeros((len(query), ways))
        for step in range(6):
            plan = np.exp(-4 * squared_distances(query, points))
            for _ in range(2000):
                plan /= plan.sum(axis=1, keepdims=True)
                plan *= len(query) / ways / plan.sum(axis=0)
            if step < 5:
                goal = (known.T @ support + plan.T @ query) / (known.sum(axis=0) + plan.sum(axis=0))[:, None]
                points = points + 0.3 * (goal - points)
        return plan

    compare(PTMAP(steps=5, rate=0.3, regularization=4), formula, episodes)


def test_pt_map_divides_the_queries_equally_among_the_classes(make_episodes):
    plan = PTMAP().classify(make_episodes(queries=10))
    torch.testing.assert_close(plan.sum(dim=1), torch.full((4, 5), 2.0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plan.sum(dim=2), torch.ones(4, 10), rtol=1e-4, atol=1e-4)


def test_paddle(episodes: Episodes):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        support, query = unit(support), unit(query)
        points, known = means_of(support, labels, ways), np.eye(ways)[labels]
        reward = np.zeros(ways)
        for _ in range(5):
            parts = softmax(-7.5 * squared_distances(query, points) + reward)
            points = (known.T @ support + parts.T @ query) / (known.sum(axis=0) + parts.sum(axis=0))[:, None]
            reward = 0.8 * np.log(parts.mean(axis=0))
        return -7.5 * squared_distances(query, points) + reward

    compare(Paddle(steps=5, scale=15.0, complexity=0.8), formula, episodes)


def sinkhorn(parts: Array, sizes: Array) -> Array:
    """Scale rows to 1 and columns to the sizes, in turn."""
    plan = parts.copy()
    for _ in range(20_000):
        plan = plan / plan.sum(axis=1, keepdims=True)
        plan = plan * (sizes / plan.sum(axis=0).clip(min=1e-300))
    return plan / plan.sum(axis=1, keepdims=True)


def losses_while_training(rows: Array, targets: Array, weights: Array, steps: int) -> Array:
    """Mean cross-entropy of each row over the steps of gradient descent, by torch's own optimiser."""
    x, y = torch.from_numpy(rows), torch.from_numpy(targets)
    layer = torch.nn.Linear(rows.shape[1], weights.shape[0], dtype=torch.float64)
    layer.weight.data, layer.bias.data = torch.from_numpy(weights), torch.zeros(len(weights), dtype=torch.float64)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    total = torch.zeros(len(rows), dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        each = torch.nn.functional.cross_entropy(layer(x), y, reduction="none")
        total += each.detach()
        each.mean().backward()
        optimizer.step()
    return total.numpy() / steps


@pytest.mark.parametrize("neighbours", [4, 15])
def test_ilpc(episodes: Episodes, neighbours: int):
    def formula(support: Array, labels: Array, query: Array, ways: int) -> Array:
        rows = np.concatenate([support, query])
        rows = unit(np.sign(rows) * (np.abs(rows) + 1e-6) ** 0.5)
        rows = unit(rows - rows.mean(axis=0))
        cosine = rows @ rows.T - 9 * np.eye(len(rows))
        graph = np.zeros_like(cosine)
        for i, order in enumerate((-cosine).argsort(axis=1)[:, : min(neighbours, len(rows) - 1)]):
            graph[i, order] = cosine[i, order].clip(min=0) ** 3
        graph = graph + graph.T
        degree = graph.sum(axis=1)
        scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
        spread = np.linalg.inv(np.eye(len(rows)) - 0.8 * scale[:, None] * graph * scale)
        known = np.concatenate([labels, np.full(len(query), -1)])
        share, scores = np.full(ways, len(query) / ways), np.zeros((len(query), ways))
        while (known < 0).any():
            waiting = np.flatnonzero(known < 0)
            reached = (spread @ (known[:, None] == np.arange(ways)))[waiting].clip(min=1e-12)
            left = (share - [(known[len(labels) :] == n).sum() for n in range(ways)]).clip(min=0)
            plan = sinkhorn(reached**3, left * len(waiting) / left.sum())
            given = plan.argmax(axis=1)
            means = unit(np.stack([rows[known == n].mean(axis=0) for n in range(ways)]))
            targets = known.copy()
            targets[waiting] = given
            loss = losses_while_training(rows, targets, means, 60)[waiting]
            ranked = [np.flatnonzero(given == n)[loss[given == n].argsort()][:3] for n in range(ways)]
            chosen = np.concatenate(ranked)
            if len(chosen) < ways:
                chosen = np.arange(len(waiting))
            known[waiting[chosen]], scores[waiting[chosen] - len(labels)] = given[chosen], plan[chosen]
        return scores

    compare(ILPC(neighbours=neighbours, steps=60), formula, episodes, 1e-3)
