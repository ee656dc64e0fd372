from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from fewbench.methods.parts.cosine_head import initial_weights, train
from fewbench.methods.parts.similarity import cosines
from fewbench.tasks.episodes import Episodes

SETTINGS = {"scale": 7.0, "learning_rate": 0.03, "weight_decay": 0.1}


@pytest.fixture(params=["equal", "unequal"])
def episodes(request: pytest.FixtureRequest, make_episodes, make_unequal_episodes) -> Episodes:
    return make_episodes() if request.param == "equal" else make_unequal_episodes()


def trained(episodes: Episodes, steps: int) -> Tensor:
    weights = initial_weights(episodes.support, episodes.support_labels, episodes.ways)
    return train(weights, episodes.support, episodes.support_labels, episodes.class_mask, steps=steps, **SETTINGS)


def trained_by_torch(episodes: Episodes, episode: int, steps: int) -> Tensor:
    """One episode without its padding: torch's autograd and its optimiser."""
    present = episodes.support_labels[episode] >= 0
    features, labels = normalize(episodes.support[episode, present], dim=-1), episodes.support_labels[episode, present]
    ways = int(episodes.class_mask[episode].sum())
    means = torch.stack([features[labels == n].mean(dim=0) for n in range(ways)])
    weights = (means / means.norm(dim=1, keepdim=True)).requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=SETTINGS["learning_rate"], weight_decay=SETTINGS["weight_decay"])
    for _ in range(steps):
        logits = SETTINGS["scale"] * features @ (weights / weights.norm(dim=1, keepdim=True)).T
        optimizer.zero_grad()
        cross_entropy(logits, labels).backward()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize("steps", [0, 1, 8])
def test_each_episode_is_trained_as_torch_trains_it(steps: int, episodes: Episodes):
    weights = trained(episodes, steps)
    for i in range(len(episodes)):
        ways = int(episodes.class_mask[i].sum())
        torch.testing.assert_close(weights[i, :ways], trained_by_torch(episodes, i, steps), rtol=1e-3, atol=1e-4)
        assert not weights[i, ways:].any()


def test_the_start_is_left_as_it_was(episodes: Episodes):
    weights = initial_weights(episodes.support, episodes.support_labels, episodes.ways)
    before = weights.clone()
    train(weights, episodes.support, episodes.support_labels, episodes.class_mask, steps=3, **SETTINGS)
    assert torch.equal(weights, before)


def test_one_by_one_gives_the_same(episodes: Episodes):
    columns = ("support", "support_labels", "query", "class_mask", "seeds")
    parts = [replace(episodes, **{name: getattr(episodes, name)[i : i + 1] for name in columns}) for i in range(len(episodes))]
    torch.testing.assert_close(torch.cat([trained(part, 8) for part in parts]), trained(episodes, 8), rtol=1e-3, atol=1e-4)


def test_cosines_are_those_of_torch(episodes: Episodes):
    weights = trained(episodes, 1)
    expected = torch.cosine_similarity(episodes.query[:, :, None], weights[:, None], dim=-1)
    torch.testing.assert_close(cosines(episodes.query, weights), expected, rtol=1e-5, atol=1e-6)
