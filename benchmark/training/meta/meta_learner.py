"""Meta-training as something the loop can train: episodes of a train split, and a method's loss on them.

Letters in shape comments: E episodes, N ways, S support rows, Q query rows, C channels, H and W pixels, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ....methods.base import Method
from ....tasks.episodes import ABSENT, EpisodeBatch, Episodes
from ....tasks.samplers import Sampler
from ...backbones.base import Preprocess
from ...evaluation.source import Inputs
from ..augmentation import Augmentation
from ..loop.learner import Learner, Part, step_generator
from ..recipes.projection import full_precision
from ..train_images import StoredImages


@dataclass(frozen=True)
class EpisodeSource:
    """The source of training episodes.

    Attributes:
        sampler: draws them; step i takes episodes i·meta_batch and the next.
        images: of the train split.
        preprocess: makes images ready for the backbone.
        meta_batch: episodes a step, of all processes together.
        augmentation: of the images, each for itself.
        seed: of the augmentation.
    """

    sampler: Sampler
    images: StoredImages
    preprocess: Preprocess
    meta_batch: int
    augmentation: Augmentation
    seed: int

    def draw(self, step: int, part: Part) -> Episodes:
        """The episodes of a step with their images [E, S, C, H, W] and the labels of the queries."""
        first = step * self.meta_batch
        drawn = self.sampler.draw(first, first + self.meta_batch)[np.arange(part.rank, self.meta_batch, part.world)].trimmed()
        device = self.images.device
        rows = np.concatenate([drawn.support, drawn.query], axis=1)  # [E, S + Q]
        generator = step_generator(self.seed, step, device, part)
        images = self.augmentation(self.images.at(torch.from_numpy(rows.reshape(-1))), self.preprocess, generator)
        images = images.contiguous(memory_format=torch.channels_last).unflatten(0, rows.shape)
        support, query = images.split([drawn.support.shape[1], drawn.query.shape[1]], dim=1)
        return self._episodes(drawn, support, query, device)

    def _episodes(self, drawn: EpisodeBatch, support: Tensor, query: Tensor, device: torch.device) -> Episodes:
        return Episodes(
            support=support,
            support_labels=torch.from_numpy(drawn.support_labels).to(device),
            query=query,
            ways=drawn.classes.shape[1],
            class_mask=torch.from_numpy(drawn.classes != ABSENT).to(device),
            seeds=torch.from_numpy(drawn.seeds).to(device),
            query_labels=torch.from_numpy(drawn.query_labels).to(device),
        )


class MetaLearner(Learner):
    """A backbone, and what the method learns beside it."""

    def __init__(
        self, method: Method, inputs: Inputs, backbone: nn.Module, learned: nn.Module | None, source: EpisodeSource
    ) -> None:
        """Put them together.

        Args:
            method: with a loss.
            inputs: whether the loss takes features or images.
            backbone: to be trained.
            learned: the method's own part, or None.
            source: of episodes.
        """
        super().__init__()
        self.method, self.inputs, self.source = method, inputs, source
        self.backbone, self.learned = backbone, learned

    def kept(self) -> nn.Module:
        """The backbone, and what the method learned."""
        return self

    def batch(self, step: int, part: Part) -> Episodes:
        """Episodes with images."""
        return self.source.draw(step, part)

    def forward(self, batch: Episodes) -> tuple[Tensor, dict[str, Tensor]]:
        """The method's loss; for methods on features also the accuracy on the queries."""
        if self.inputs == "images":
            return self.method.loss(replace(batch, backbone=self.backbone, learned=self.learned)), {}
        shape = batch.support.shape[:2], batch.query.shape[:2]
        # One pass for support and queries together, so that batch norm sees them as one batch, as the papers' code does.
        images = torch.cat([batch.support.flatten(0, 1), batch.query.flatten(0, 1)])
        features = self.backbone(images.contiguous(memory_format=torch.channels_last)).float()
        support, query = features.split([shape[0].numel(), shape[1].numel()])
        episodes = replace(
            batch, support=support.unflatten(0, shape[0]), query=query.unflatten(0, shape[1]), learned=self.learned
        )
        with full_precision(features):
            loss = self.method.loss(episodes)
            with torch.no_grad(), _evaluating(self.learned):
                scores = self.method.classify(episodes)
        return loss, {"accuracy": _accuracy(scores.masked_fill(~batch.class_mask[:, None], -torch.inf), batch)}


@contextmanager
def _evaluating(module: nn.Module | None) -> Iterator[None]:
    """A module in evaluation mode for a while: its batch norm has seen the episodes already."""
    if module is None or not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()


def _accuracy(scores: Tensor, episodes: Episodes) -> Tensor:
    """Share of the queries, those of padding apart, whose highest score is that of their class."""
    labels = episodes.query_labels
    assert labels is not None
    right = (scores.argmax(dim=2) == labels) & (labels != ABSENT)
    return right.sum() / (labels != ABSENT).sum()
