"""Scores of each method against its formula, written out for one episode at a time in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fewbench.core.errors import UsageError, UserError
from fewbench.methods.chance import Chance
from fewbench.methods.linear.baseline import Baseline
from fewbench.methods.linear.baseline_plus_plus import BaselinePlusPlus
from fewbench.methods.linear.ciw import CIW
from fewbench.methods.linear.r2d2 import R2D2
from fewbench.methods.linear.ridge import Ridge
from fewbench.methods.metric.matching_net import MatchingNet
from fewbench.methods.metric.meta_baseline import MetaBaseline
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.methods.metric.simpleshot import SimpleShot
from fewbench.methods.parts.random_numbers import shuffled, uniform
from fewbench.tasks.episodes import Episodes


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return make_episodes() if request.param == "equal" else make_unequal_episodes()


def one_by_one(episodes: Episodes) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, int]]:
    """Position, support, labels, queries and ways of each episode without its padding, in float64."""
    for i in range(len(episodes)):
        present = episodes.support_labels[i] >= 0
        support, labels = episodes.support[i, present].double().numpy(), episodes.support_labels[i, present].numpy()
        yield i, support, labels, episodes.query[i].double().numpy(), int(episodes.class_mask[i].sum())


def nearest_mean_scores(support: np.ndarray, labels: np.ndarray, query: np.ndarray, ways: int) -> np.ndarray:
    """Minus the squared distance to each class mean."""
    means = np.stack([support[labels == n].mean(axis=0) for n in range(ways)])
    return -np.array([[((q - mean) ** 2).sum() for mean in means] for q in query])


def same_up_to_a_number_a_query(scores: torch.Tensor, expected: np.ndarray) -> None:
    differences = scores.numpy() - scores.numpy()[:, :1]
    np.testing.assert_allclose(differences, expected - expected[:, :1], rtol=1e-4, atol=1e-4)


def test_protonet_scores_are_squared_distances_to_class_means(episodes: Episodes):
    scores = ProtoNet().classify(episodes)
    for i, support, labels, query, ways in one_by_one(episodes):
        same_up_to_a_number_a_query(scores[i, :, :ways], nearest_mean_scores(support, labels, query, ways))


def cosines_to_means(support: np.ndarray, labels: np.ndarray, query: np.ndarray, ways: int) -> np.ndarray:
    means = np.stack([support[labels == n].mean(axis=0) for n in range(ways)])
    return np.array([[q @ mean / np.linalg.norm(q) / np.linalg.norm(mean) for mean in means] for q in query])


def test_protonet_scores_by_cosine_are_scaled_cosines_with_class_means(episodes: Episodes):
    scores = ProtoNet(distance="cosine", scale=3).classify(episodes)
    for i, support, labels, query, ways in one_by_one(episodes):
        expected = 3 * cosines_to_means(support, labels, query, ways)
        np.testing.assert_allclose(scores[i, :, :ways].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_meta_baseline_scores_are_cosines_with_class_means_times_the_learned_temperature(episodes: Episodes):
    temperature = MetaBaseline().learned_part(nn.Identity(), 8, 5, torch.Generator())
    assert temperature.temperature == 10
    nn.init.constant_(temperature.temperature, 7.0)
    scores = MetaBaseline().classify(replace(episodes, learned=temperature)).detach()
    for i, support, labels, query, ways in one_by_one(episodes):
        expected = 7 * cosines_to_means(support, labels, query, ways)
        np.testing.assert_allclose(scores[i, :, :ways].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_simpleshot_scores_are_protonet_scores_of_transformed_features(episodes: Episodes):
    assert episodes.train_mean is not None
    mean = episodes.train_mean.double().numpy()
    transforms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "cl2n": lambda x: (x - mean) / np.linalg.norm(x - mean, axis=1)[:, None],
        "l2n": lambda x: x / np.linalg.norm(x, axis=1)[:, None],
        "un": lambda x: x,
    }
    for name, transform in transforms.items():
        scores = SimpleShot(transform=name).classify(episodes)  # pyright: ignore[reportArgumentType]
        for i, support, labels, query, ways in one_by_one(episodes):
            expected = nearest_mean_scores(transform(support), labels, transform(query), ways)
            same_up_to_a_number_a_query(scores[i, :, :ways], expected)


def test_simpleshot_without_a_train_mean_says_so(make_episodes):
    with pytest.raises(UserError, match="mean feature of the train split"):
        SimpleShot().classify(Episodes(**{**vars(make_episodes()), "train_mean": None}))


def test_matching_net_scores_are_the_attention_of_the_class(episodes: Episodes):
    scores = MatchingNet().classify(episodes)
    for i, support, labels, query, ways in one_by_one(episodes):
        for j, q in enumerate(query):
            cosine = [q @ s / np.linalg.norm(q) / np.linalg.norm(s) for s in support]
            attention = np.exp(cosine) / np.exp(cosine).sum()
            expected = [attention[labels == n].sum() for n in range(ways)]
            np.testing.assert_allclose(scores[i, j, :ways].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("regularization", [1e-3, 1.0])
def test_ridge_scores_are_the_primal_solution_with_an_intercept(episodes: Episodes, regularization: float):
    scores = Ridge(regularization=regularization).classify(episodes)
    for i, support, labels, query, ways in one_by_one(episodes):
        x, y = support - support.mean(axis=0), np.eye(ways)[labels]
        penalty = regularization * (x**2).sum(axis=1).mean()
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
        expected = (query - support.mean(axis=0)) @ weights + y.mean(axis=0)
        np.testing.assert_allclose(scores[i, :, :ways].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_ridge_scores_do_not_change_with_the_scale_of_the_features(make_episodes):
    plain, scaled = make_episodes(), make_episodes()
    scaled.support.mul_(100)
    scaled.query.mul_(100)
    torch.testing.assert_close(Ridge().classify(scaled), Ridge().classify(plain), rtol=1e-4, atol=1e-5)


def test_ridge_refuses_no_regularization():
    with pytest.raises(UsageError, match="above 0"):
        Ridge(regularization=0)


def test_r2d2_scores_are_the_primal_solution_adjusted(episodes: Episodes):
    scalars = R2D2(initial_regularization=2, initial_scale=3).learned_part(nn.Identity(), 8, 5, torch.Generator())
    nn.init.constant_(scalars.bias, -0.5)
    scores = R2D2().classify(replace(episodes, learned=scalars)).detach()
    for i, support, labels, query, ways in one_by_one(episodes):
        x = np.concatenate([support, np.ones((len(support), 1))], axis=1)
        weights = np.linalg.solve(x.T @ x + 2 * np.eye(x.shape[1]), x.T @ np.eye(ways)[labels])
        expected = 3 * (query @ weights[:-1] + weights[-1]) - 0.5
        np.testing.assert_allclose(scores[i, :, :ways].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: R2D2(initial_regularization=0), lambda: R2D2(initial_scale=-1), lambda: ProtoNet(scale=0)]
)
def test_numbers_that_must_be_positive_are_refused_otherwise(make: Callable[[], object]):
    with pytest.raises(UsageError, match=": above 0"):
        make()


def test_chance_scores_every_class_alike(episodes: Episodes):
    scores = Chance().classify(episodes)
    assert scores.shape == (len(episodes), episodes.query.shape[1], episodes.ways)
    assert not scores.any()


class CosineLayer(nn.Module):
    """Linear layer with weight normalisation on normalised inputs, times 2."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.direction = nn.Parameter(weight.clone())
        self.length = nn.Parameter(weight.norm(dim=1, keepdim=True))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        weight = self.length * self.direction / self.direction.norm(dim=1, keepdim=True)
        return 2 * features / (features.norm(dim=1, keepdim=True) + 1e-5) @ weight.T


def trained_by_autograd(layer: nn.Module, episodes: Episodes, i: int, temperature: float = torch.inf) -> torch.Tensor:
    """Scores of episode i after the loop of the released code, with the library's optimiser and the method's random order."""
    present = episodes.support_labels >= 0
    support, labels = episodes.support[i].double(), episodes.support_labels[i]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for epoch in range(100):
        order = shuffled(episodes.seeds, 2 + epoch, present)[i, : int(present[i].sum())]
        for chosen in order.split(4):
            optimizer.zero_grad()
            losses = nn.functional.cross_entropy(layer(support[chosen]), labels[chosen], reduction="none")
            ((-losses.detach() / temperature).softmax(dim=0) * losses).sum().backward()  # the mean, where it is infinite
            optimizer.step()
    return layer(episodes.query[i].double()).detach()


def start(episodes: Episodes, stream: int, width: int, i: int, ways: int) -> torch.Tensor:
    """Initial weights of episode i, [ways, width]: uniform in ±1/√D."""
    drawn = uniform(episodes.seeds, stream, episodes.ways * width)[i].double().view(episodes.ways, width)
    return (2 * drawn - 1)[:ways] / episodes.support.shape[2] ** 0.5


@pytest.fixture(params=["few images", "many images"])
def trained_on(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    """Equal episodes of fewer images than features, and unequal ones of more: the reduced coordinates meet both."""
    return make_episodes(count=2, width=16) if request.param == "few images" else make_unequal_episodes(count=3, width=6)


def test_baseline_scores_are_those_of_autograd_and_the_library_optimiser(trained_on: Episodes):
    scores = Baseline().classify(trained_on)
    width = trained_on.support.shape[2]
    for i, _, _, _, ways in one_by_one(trained_on):
        layer = nn.Linear(width, ways, dtype=torch.float64)
        layer.weight.data = start(trained_on, 0, width, i, ways)
        layer.bias.data = start(trained_on, 1, 1, i, ways)[:, 0]
        expected = trained_by_autograd(layer, trained_on, i)
        torch.testing.assert_close(scores[i, :, :ways].double(), expected, rtol=1e-4, atol=1e-5)


def test_baseline_plus_plus_scores_are_those_of_autograd_and_the_library_optimiser(trained_on: Episodes):
    scores = BaselinePlusPlus().classify(trained_on)
    width = trained_on.support.shape[2]
    for i, _, _, _, ways in one_by_one(trained_on):
        layer = CosineLayer(start(trained_on, 0, width, i, ways))
        expected = trained_by_autograd(layer, trained_on, i)
        torch.testing.assert_close(scores[i, :, :ways].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_ciw_scores_are_those_of_autograd_with_weights_by_the_losses(trained_on: Episodes, temperature: float):
    scores = CIW(temperature=temperature).classify(trained_on)
    width = trained_on.support.shape[2]
    for i, _, _, _, ways in one_by_one(trained_on):
        layer = nn.Linear(width, ways, dtype=torch.float64)
        layer.weight.data = start(trained_on, 0, width, i, ways)
        layer.bias.data = start(trained_on, 1, 1, i, ways)[:, 0]
        expected = trained_by_autograd(layer, trained_on, i, temperature)
        torch.testing.assert_close(scores[i, :, :ways].double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("values", [{"batch_size": 0}, {"epochs": -1}])
def test_a_training_loop_that_cannot_run_is_refused(values: dict[str, Any]):
    with pytest.raises(UsageError, match="at least"):
        Baseline(**values)
