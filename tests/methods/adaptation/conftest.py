"""Episodes of small images with a network to adapt, and the gradient of a meta-training on them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.methods.base import Method
from fewbench.tasks.episodes import Episodes

WAYS, SHOTS, QUERIES, SIZE = 3, 2, 6, 16


def image_episodes(method: Method, count: int = 3, head_ways: int = WAYS, dtype: torch.dtype = torch.float32) -> Episodes:
    """Episodes of noisy images, each class with a brightness pattern of its own, and a network with random weights."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(count, WAYS, 1, SIZE, SIZE))
    support_labels, query_labels = np.tile(np.arange(WAYS), SHOTS), np.tile(np.arange(WAYS), QUERIES // WAYS)
    support = patterns[:, support_labels] + random.normal(size=(count, len(support_labels), 1, SIZE, SIZE))
    query = patterns[:, query_labels] + random.normal(size=(count, QUERIES, 1, SIZE, SIZE))
    generator = torch.Generator().manual_seed(1)
    backbone = Conv4(width=4).build(1, SIZE, generator).to(dtype)
    learned = method.learned_part(backbone, 4, head_ways, generator)
    return Episodes(
        support=torch.from_numpy(support).to(dtype),
        support_labels=torch.from_numpy(np.tile(support_labels, (count, 1))),
        query=torch.from_numpy(query).to(dtype),
        ways=WAYS,
        class_mask=torch.ones(count, WAYS, dtype=torch.bool),
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        backbone=backbone,
        learned=None if learned is None else learned.to(dtype),
        query_labels=torch.from_numpy(np.tile(query_labels, (count, 1))),
    )


def for_evaluation(episodes: Episodes) -> Episodes:
    """As a run gives them: no labels of queries, the network in evaluation mode and without gradients."""
    assert episodes.backbone is not None and episodes.learned is not None
    backbone, learned = deepcopy(episodes.backbone).eval(), deepcopy(episodes.learned).eval()
    return replace(episodes, backbone=backbone.requires_grad_(False), learned=learned.requires_grad_(False), query_labels=None)


def taken(episodes: Episodes, index: Tensor) -> Episodes:
    columns = ("support", "support_labels", "query", "class_mask", "seeds")
    return replace(episodes, **{name: getattr(episodes, name)[index] for name in columns})


def padded(episodes: Episodes) -> Episodes:
    """With two more places of support, one more way, and the last class gone from the second episode."""
    labels = episodes.support_labels.clone()
    labels[1, labels[1] == WAYS - 1] = -1
    mask = torch.nn.functional.pad(episodes.class_mask, (0, 1), value=False)
    mask[1, WAYS - 1] = False
    return replace(
        episodes,
        support=torch.cat([episodes.support, torch.full_like(episodes.support[:, :2], 77)], dim=1),
        support_labels=torch.nn.functional.pad(labels, (0, 2), value=-1),
        class_mask=mask,
        ways=WAYS + 1,
    )


def trained_parameters(episodes: Episodes) -> list[nn.Parameter]:
    assert episodes.backbone is not None and episodes.learned is not None
    return [*episodes.backbone.parameters(), *episodes.learned.parameters()]


def meta_gradient(method: Method, episodes: Episodes) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient as one vector."""
    loss = method.loss(episodes)
    gradients = torch.autograd.grad(loss, trained_parameters(episodes))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def assert_same(scores: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=2e-5)
