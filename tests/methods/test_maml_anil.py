"""ANIL: its hand-written gradient against autograd, and padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewbench.core.errors import UserError
from fewbench.methods.adaptation.anil import ANIL
from fewbench.methods.parts.inner_loop import Head
from fewbench.tasks.episodes import Episodes

WIDTH = 8


def with_head(episodes: Episodes, ways: int) -> Episodes:
    head = Head(WIDTH, ways, torch.Generator().manual_seed(2)).double()
    return replace(episodes, support=episodes.support.double(), query=episodes.query.double(), learned=head)


def by_autograd(episodes: Episodes, steps: int, rate: float, create_graph: bool) -> Tensor:
    """Scores [E, Q, N] of equal episodes, with gradients by autograd."""
    scores = []
    for support, labels, query in zip(episodes.support, episodes.support_labels, episodes.query, strict=True):
        assert isinstance(episodes.learned, nn.Linear)
        weights, bias = episodes.learned.weight, episodes.learned.bias
        for _ in range(steps):
            loss = cross_entropy(support @ weights.T + bias, labels)
            slopes = torch.autograd.grad(loss, [weights, bias], create_graph=create_graph)
            weights, bias = weights - rate * slopes[0], bias - rate * slopes[1]
        scores.append(query @ weights.T + bias)
    return torch.stack(scores)


@pytest.mark.parametrize("order", ["first", "second"])
def test_scores_and_meta_gradients_are_those_of_autograd(order: Any, make_episodes: Callable[..., Episodes]):
    episodes = with_head(make_episodes(width=WIDTH), 5)
    episodes.support.requires_grad_()
    episodes = replace(episodes, query_labels=torch.arange(7).remainder(5).expand(4, -1))
    assert episodes.learned is not None and episodes.query_labels is not None
    inputs = [episodes.support, *episodes.learned.parameters()]
    gradients = torch.autograd.grad(ANIL(order=order, inner_steps=2).loss(episodes), inputs, allow_unused=True)
    scores = by_autograd(episodes, 2, 0.4, create_graph=order == "second")
    assert torch.allclose(ANIL(test_steps=2).classify(episodes), scores)
    loss = cross_entropy(scores.flatten(0, 1), episodes.query_labels.flatten())
    for gradient, expected in zip(gradients, torch.autograd.grad(loss, inputs, allow_unused=True), strict=True):
        assert (gradient is None) == (expected is None) == (order == "first" and gradient is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, expected)


def test_padding_changes_nothing(make_unequal_episodes: Callable[..., Episodes]):
    episodes = with_head(make_unequal_episodes(width=WIDTH), 6)
    scores = ANIL().classify(episodes)
    for i, labels in enumerate(episodes.support_labels):
        present, ways = labels >= 0, int(episodes.class_mask[i].sum())
        head: Any = Head(WIDTH, ways, torch.Generator()).double()
        whole: Any = episodes.learned
        head.load_state_dict({name: tensor[:ways] for name, tensor in whole.state_dict().items()})
        one = replace(
            episodes,
            support=episodes.support[i : i + 1, present],
            support_labels=labels[None, present],
            query=episodes.query[i : i + 1],
            class_mask=episodes.class_mask[i : i + 1, :ways],
            ways=ways,
            learned=head,
        )
        torch.testing.assert_close(scores[i, :, :ways], by_autograd(one, 3, 0.4, create_graph=False)[0])
        torch.testing.assert_close(ANIL().classify(one)[0], scores[i, :, :ways])


def test_more_ways_than_the_head_has_are_refused(make_episodes: Callable[..., Episodes]):
    with pytest.raises(UserError, match="meta-trained for 4 ways"):
        ANIL().classify(with_head(make_episodes(width=WIDTH), 4))
    with pytest.raises(UserError, match="--checkpoint"):
        ANIL().classify(make_episodes(width=WIDTH))
