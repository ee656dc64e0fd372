"""Baseline's other optimisers, against loops over one episode at a time in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.methods.linear.baseline import Baseline
from fewbench.methods.parts.random_numbers import shuffled
from fewbench.methods.parts.softmax_head import BIAS, FIRST_EPOCH, WEIGHTS, initial_weights
from fewbench.tasks.episodes import Episodes

EPOCHS = 30


@pytest.fixture(params=["few images", "many images"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    """Equal episodes of fewer images than features, and unequal ones of more."""
    return make_episodes(count=2, width=16) if request.param == "few images" else make_unequal_episodes(count=5, width=6)


def start(episodes: Episodes, i: int) -> Tensor:
    """Initial weights and bias of episode i, [ways, D + 1]."""
    width = episodes.support.shape[2]
    parts = [initial_weights(episodes, WEIGHTS, width, width), initial_weights(episodes, BIAS, 1, width)]
    return torch.cat(parts, dim=2)[i, episodes.class_mask[i]].double()


def mini_batches(episodes: Episodes, i: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows with a 1 behind them, and labels, of the mini-batches of episode i in the method's random order."""
    present = episodes.support_labels >= 0
    rows, labels = with_one(episodes.support[i]), episodes.support_labels[i]
    for epoch in range(EPOCHS):
        order = shuffled(episodes.seeds, FIRST_EPOCH + epoch, present)[i, : int(present[i].sum())]
        for chosen in order.split(4):
            yield rows[chosen], labels[chosen]


def with_one(features: Tensor) -> Tensor:
    return nn.functional.pad(features.double(), (0, 1), value=1.0)


def by_least_squares(episodes: Episodes, i: int) -> Tensor:
    """Weights after steps towards the minimum of ½ ‖W X − T‖² + ‖W − W_t‖² / (2 η), T = A − γ ∂L/∂A, with momentum.

    γ is 0.7 · B, and 1 / η is B times the mean square of the inputs.
    """
    weights = start(episodes, i).numpy()
    velocity = np.zeros_like(weights)
    for step, (rows, labels) in enumerate(mini_batches(episodes, i)):
        x, count = rows.numpy(), len(rows)
        outputs = x @ weights.T
        error = (torch.from_numpy(outputs).softmax(dim=1).numpy() - np.eye(len(weights))[labels]) / count
        targets = outputs - 0.7 * count * error
        strength = np.sqrt(count * (x**2).mean())  # 1 / √η
        system = np.concatenate([x, strength * np.eye(x.shape[1])])
        minimum = np.linalg.lstsq(system, np.concatenate([targets, strength * weights.T]), rcond=None)[0].T
        move = weights - minimum + 0.7 * 0.001 * weights
        velocity = move if step == 0 else 0.9 * velocity + 0.1 * move
        weights = weights - velocity
    return torch.from_numpy(weights)


def by_adamw_of_torch(episodes: Episodes, i: int) -> Tensor:
    weights = start(episodes, i).requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=0.01, weight_decay=0.001)
    for rows, labels in mini_batches(episodes, i):
        optimizer.zero_grad()
        nn.functional.cross_entropy(rows @ weights.T, labels).backward()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        (Baseline(optimizer="locoprop", learning_rate=0.7, epochs=EPOCHS), by_least_squares),
        (Baseline(optimizer="adam", epochs=EPOCHS), by_adamw_of_torch),
    ],
    ids=["locoprop", "adam"],
)
def test_scores_are_those_of_the_optimiser(method: Baseline, trained: Callable[[Episodes, int], Tensor], episodes: Episodes):
    scores = method.classify(episodes)
    for i, present in enumerate(episodes.class_mask):
        expected = with_one(episodes.query[i]) @ trained(episodes, i).T
        torch.testing.assert_close(scores[i][:, present].double(), expected, rtol=1e-3, atol=1e-4)


def test_records_of_the_default_do_not_name_it():
    assert "optimizer" not in Baseline().parameters
    assert Baseline(optimizer="adam").parameters["optimizer"] == "adam"
