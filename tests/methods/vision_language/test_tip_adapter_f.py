"""Tip-Adapter-F's scores against training by autograd and the library's optimiser."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from fewbench.core.errors import UsageError
from fewbench.methods.vision_language.tip_adapter import TipAdapter
from fewbench.methods.vision_language.tip_adapter_f import TipAdapterF
from fewbench.tasks.episodes import Episodes


def trained_by_autograd(episodes: Episodes, i: int, alpha: float, beta: float, epochs: int, rate: float) -> torch.Tensor:
    """Scores [Q, N] of episode i by the released code's training of the keys, in float64."""
    ways, present = int(episodes.class_mask[i].sum()), episodes.support_labels[i] >= 0
    labels, support = episodes.support_labels[i, present], normalize(episodes.support[i, present].double(), dim=-1)
    assert episodes.text is not None
    text, values = episodes.text[i, :ways].double(), one_hot(labels, ways).double()
    keys = torch.nn.Parameter(support.clone())

    def scores(features: torch.Tensor) -> torch.Tensor:
        return 100 * features @ text.T + alpha * torch.exp(-beta * (1 - features @ keys.T)) @ values

    optimizer = torch.optim.AdamW([keys], lr=rate, eps=1e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        optimizer.zero_grad()
        cross_entropy(scores(support), labels).backward()
        optimizer.step()
        schedule.step()
    return scores(normalize(episodes.query[i].double(), dim=-1)).detach()


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_scores_are_those_of_autograd_and_the_library_optimiser(kind: str, make_episodes, make_unequal_episodes):
    episodes: Episodes = make_episodes(shots=3) if kind == "equal" else make_unequal_episodes()
    assert episodes.text is not None
    episodes.text.mul_(0.05)  # near scores, so that errors, and with them the gradients, are large
    method = TipAdapterF(alpha=3.0, beta=5.5, learning_rate=0.01)
    scores, untrained = method.classify(episodes), TipAdapter(alpha=3.0, beta=5.5).classify(episodes)
    assert (scores - untrained).abs().max() > 0.5
    for i in range(len(episodes)):
        ways = int(episodes.class_mask[i].sum())
        expected = trained_by_autograd(episodes, i, 3.0, 5.5, epochs=20, rate=0.01)
        torch.testing.assert_close(scores[i, :, :ways].double(), expected, rtol=1e-3, atol=2e-3)


def test_without_training_it_is_tip_adapter(make_episodes):
    episodes = make_episodes()
    expected = TipAdapter(alpha=2.0, beta=3.0).classify(episodes)
    assert torch.equal(TipAdapterF(alpha=2.0, beta=3.0, epochs=0).classify(episodes), expected)


@pytest.mark.parametrize("values", [{"epochs": -1}, {"learning_rate": 0.0}, {"alpha": -1.0}])
def test_a_training_that_cannot_run_is_refused(values: dict[str, float]):
    with pytest.raises(UsageError, match=r"^TipAdapterF: "):
        TipAdapterF(**values)  # pyright: ignore[reportArgumentType]
