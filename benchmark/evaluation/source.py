"""Where the rows of episodes are looked up: a batch of row numbers becomes what a method sees.

Letters in shape comments: E episodes, N ways (classes), R rows, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...methods.base import Method
from ...tasks.conditions.acquisition import Acquisition
from ...tasks.datasets.split import Images
from ...tasks.episodes import ABSENT, EpisodeBatch, Episodes, TrainClasses
from ..backbones.base import Preprocess
from ..features.table import FeatureTable
from ..features.transforms import Transforms

Inputs = Literal["features", "images"]


@dataclass(frozen=True)
class Source:
    """Where the rows of episodes are looked up.

    Attributes:
        device: where episodes are wanted.
        table: features of the split, for methods on features.
        images: uint8 [n, H, W, C], for methods on images.
        preprocess: makes images ready for the backbone.
        backbone: for methods on images.
        class_names: of the split.
        train_mean: float [D], for methods that use it.
        train_classes: for methods that use them.
        tune: what an adapting method may move.
        learned: what the method learned beside the backbone, for methods that have such a part.
        text: float [C, D], the text feature of each class of the split, for methods that use it.
        text_tower: for methods that use it.
        transforms: of the features, before the method sees them.
        acquisition: gives labels to images without, by their features before the transforms.
        voters: features of further views of the split; each view is classified by itself, and the majority counts.
    """

    device: torch.device
    table: FeatureTable | None = None
    images: Images | None = None
    preprocess: Preprocess | None = None
    backbone: nn.Module | None = None
    class_names: tuple[str, ...] = ()
    train_mean: Tensor | None = None
    train_classes: TrainClasses | None = None
    tune: str = "none"
    learned: nn.Module | None = None
    text: Tensor | None = None
    text_tower: nn.Module | None = None
    transforms: Transforms = Transforms()
    acquisition: Acquisition | None = None
    voters: tuple[FeatureTable, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """The kind of its rows."""
        return "images" if self.table is None else "features"

    @property
    def width(self) -> int:
        """D of the features; 0 where its rows are images."""
        return 0 if self.table is None else self.table.features.shape[1]

    @property
    def views(self) -> list[Source]:
        """A source for each view that votes; itself where there are no votes."""
        if not self.voters:
            return [self]
        return [replace(self, table=table, voters=()) for table in (self.table, *self.voters)]

    def rows(self, index: np.ndarray) -> Tensor:
        """The content of rows [E, R]: features [E, R, D] or images [E, R, C, H, W]."""
        if self.table is not None:
            return self.table.gather(index)
        assert self.images is not None and self.preprocess is not None
        flat = torch.from_numpy(self.images[index.reshape(-1)]).to(self.device)
        images = self.preprocess(flat).contiguous(memory_format=torch.channels_last)  # an eighth faster on a CPU
        return images.unflatten(0, index.shape)

    def fill(self, batch: EpisodeBatch, method: Method) -> Episodes:
        """Look up the rows of a batch, and all else that a method asks for. The labels of the queries stay behind."""
        if self.acquisition is not None:
            batch = self.acquisition.labelled(batch, lambda rows: self.rows(rows[None])[0].cpu().numpy())
        names = None
        if method.uses_class_names:
            names = tuple(tuple(self.class_names[c] for c in row if c != ABSENT) for row in batch.classes)
        class_mask = torch.tensor(batch.classes != ABSENT, device=self.device)
        text = None
        if method.uses_text:
            assert self.text is not None
            classes = torch.tensor(batch.classes, device=self.device).clamp(min=0)  # int64 [E, N]
            text = self.text[classes].masked_fill(~class_mask[..., None], 0)
        labels = torch.tensor(batch.support_labels, device=self.device)
        # Unlabelled rows stand behind the queries while features are transformed, which does not look at queries.
        queries = batch.query.shape[1]
        further = [batch.unlabelled] if method.uses_unlabelled else []
        asked = self.rows(np.concatenate([batch.query, *further], axis=1))
        support, query = self.transforms.of_episodes(self.rows(batch.support), labels, asked)
        return Episodes(
            support=support,
            support_labels=labels,
            query=query[:, :queries],
            unlabelled=query[:, queries:] if query.shape[1] > queries else None,
            ways=batch.classes.shape[1],
            class_mask=class_mask,
            seeds=torch.from_numpy(batch.seeds).to(self.device),
            query_mask=torch.tensor(batch.query_labels != ABSENT, device=self.device),
            class_names=names,
            text=text,
            text_tower=self.text_tower if method.uses_text_tower else None,
            train_mean=self.train_mean if method.uses_train_mean else None,
            train_classes=self.train_classes if method.uses_train_classes else None,
            backbone=self.backbone,
            tune=self.tune,
            learned=self.learned,
        )
