"""CLIP-Adapter's scores against training by autograd and the library's optimiser."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fewbench.core.errors import UsageError
from fewbench.methods.parts.random_numbers import uniform
from fewbench.methods.vision_language.clip_adapter import ClipAdapter
from fewbench.methods.vision_language.clip_zero_shot import ClipZeroShot
from fewbench.tasks.episodes import Episodes


def layers_of(episodes: Episodes, i: int, reduction: int) -> nn.Sequential:
    """The two layers of episode i before training, in float64."""
    width = episodes.support.shape[-1]
    narrow = width // reduction
    first, second = nn.Linear(width, narrow, bias=False).double(), nn.Linear(narrow, width, bias=False).double()
    for stream, layer in enumerate((first, second)):
        drawn = 2 * uniform(episodes.seeds, stream, width * narrow)[i].double() - 1
        layer.weight.data = drawn.view_as(layer.weight) / layer.in_features**0.5
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_scores_are_those_of_autograd_and_the_library_optimiser(kind: str, make_episodes, make_unequal_episodes):
    episodes: Episodes = make_episodes(count=3, shots=3) if kind == "equal" else make_unequal_episodes(count=3)
    assert episodes.text is not None
    # In float64: Adam makes whole steps of gradients that are nothing but rounding.
    double = {name: getattr(episodes, name).double() for name in ("support", "query", "text")}
    episodes = replace(episodes, **double)
    method = ClipAdapter(ratio=0.4, reduction=2, steps=12)
    scores = method.classify(episodes)
    assert (scores - ClipZeroShot().classify(episodes)).abs().max() > 5
    assert episodes.text is not None
    for i in range(len(episodes)):
        ways, present, layers = int(episodes.class_mask[i].sum()), episodes.support_labels[i] >= 0, layers_of(episodes, i, 2)
        text, labels = episodes.text[i, :ways], episodes.support_labels[i, present]

        def logits(x: torch.Tensor, layers: nn.Module = layers, text: torch.Tensor = text) -> torch.Tensor:
            y = 0.4 * layers(x) + 0.6 * x
            return 100 * y / y.norm(dim=-1, keepdim=True) @ text.T

        optimizer = torch.optim.Adam(layers.parameters(), lr=0.001)
        for _ in range(12):
            optimizer.zero_grad()
            # Raw features: without biases their length changes nothing.
            nn.functional.cross_entropy(logits(episodes.support[i, present]), labels).backward()
            optimizer.step()
        torch.testing.assert_close(scores[i, :, :ways], logits(episodes.query[i]).detach(), rtol=1e-5, atol=1e-5)


def test_a_ratio_of_0_is_zero_shot(make_episodes):
    episodes = make_episodes()
    torch.testing.assert_close(ClipAdapter(ratio=0.0).classify(episodes), ClipZeroShot().classify(episodes))


def test_episodes_start_from_layers_of_their_own(make_episodes):
    episodes = make_episodes(count=2)
    for tensor in (episodes.support, episodes.query, episodes.text):
        tensor[1] = tensor[0]
    scores = ClipAdapter(ratio=0.8, steps=0).classify(episodes)
    assert (scores[0] - scores[1]).abs().max() > 0.1


@pytest.mark.parametrize("values", [{"ratio": 1.5}, {"reduction": 0}, {"steps": -1}, {"learning_rate": 0.0}])
def test_an_adapter_that_cannot_be_trained_is_refused(values: dict[str, float]):
    with pytest.raises(UsageError, match=r"^ClipAdapter: "):
        ClipAdapter(**values)  # pyright: ignore[reportArgumentType]
