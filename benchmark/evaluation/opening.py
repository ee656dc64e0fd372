"""Opens what a plan's episodes are looked up in: features or images of a split, and all that a method asks for beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ...core.progress import Progress
from ...tasks.conditions.acquisition import Acquisition
from ...tasks.datasets.split import Split
from ...tasks.viewed_split import viewed
from ..features.table import AveragedTable, FeatureTable, feature_table, table_of_rows
from ..records.sections import Encoded
from .plan import Plan
from .source import Source


def source_of(plan: Plan, split: Split, device: torch.device, progress: Progress) -> tuple[Source, Encoded | None]:
    """Open a split for a plan's method; its images are encoded where the method works on features.

    Returns:
        The source, and when and how the features were made (`FeatureTable.encoded`); None where there are none.
    """
    source = _without_rows(plan, split, device, progress)
    if plan.inputs == "images":
        return replace(source, images=split.images, preprocess=plan.backbone.preprocess, backbone=_network(plan, device)), None
    tables = [feature_table(plan.backbone, one, device, progress, plan.encoding) for one in _views(plan, split)]
    return _with_tables(plan, source, tables), _encoded(tables)


def source_of_rows(plan: Plan, split: Split, rows: np.ndarray, device: torch.device, progress: Progress) -> Source:
    """Open a few rows [n] of a split, which are rows 0 … n − 1 of the source; no other image of it is encoded."""
    source = _without_rows(plan, split, device, progress)
    if plan.inputs == "images":
        images = np.array(split.images[rows])
        return replace(source, images=images, preprocess=plan.backbone.preprocess, backbone=_network(plan, device))
    tables = [table_of_rows(plan.backbone, one, rows, device, progress, plan.encoding) for one in _views(plan, split)]
    return _with_tables(plan, source, tables)


def _views(plan: Plan, split: Split) -> list[Split]:
    """The split, and as many views of it as the run wants."""
    return [viewed(split, view) for view in range(plan.config.views or 1)]


def _with_tables(plan: Plan, source: Source, tables: Sequence[FeatureTable]) -> Source:
    """The source with the features of each view, averaged or to vote."""
    if plan.config.vote == "majority":
        return replace(source, table=tables[0], voters=tuple(tables[1:]))
    return replace(source, table=tables[0] if len(tables) == 1 else AveragedTable.over(tables))


def _encoded(tables: Sequence[FeatureTable]) -> Encoded | None:
    """How the features of all views were made, with their images and seconds together."""
    found = [table.encoded for table in tables if table.encoded is not None]
    if not found or len(found) < len(tables):
        return None
    return replace(found[0], images=sum(one.images for one in found), seconds=round(sum(one.seconds for one in found), 3))


def _network(plan: Plan, device: torch.device) -> nn.Module:
    return plan.backbone.module.to(device).to(memory_format=torch.channels_last)


def _without_rows(plan: Plan, split: Split, device: torch.device, progress: Progress) -> Source:
    """A source with all that the method asks for beside the rows."""
    method, transforms, train_mean, train_classes, text, tower = plan.method, plan.transforms, None, None, None, None
    if plan.uses_train:
        train = plan.open_split("train", progress)
        table = feature_table(plan.backbone, train, device, progress, plan.encoding)
        transforms = transforms.fitted(table)
        table = transforms.of_table(table) if method.uses_train_mean or method.uses_train_classes else table
        train_mean = table.mean() if method.uses_train_mean else None
        train_classes = table.by_class(train.offsets) if method.uses_train_classes else None
    names = split.class_names if plan.texts is None else plan.texts.names(split.class_ids, split.class_names, progress)
    if method.uses_text:
        assert plan.texts is not None
        text = plan.texts.features(plan.backbone, names, device, progress)
    if method.uses_text_tower:
        tower = plan.backbone.text_tower().to(device).eval().requires_grad_(False)
    learned = None if plan.learned is None else plan.learned.to(device)
    return Source(
        device,
        class_names=names,
        train_mean=train_mean,
        train_classes=train_classes,
        text=text,
        text_tower=tower,
        tune=plan.backbone.tune,
        learned=learned,
        transforms=transforms,
        acquisition=Acquisition.of(plan.sampling.conditions, plan.sampling.seed),
    )
