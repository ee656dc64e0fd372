"""Teachers: networks with weights, whose scores of the train images a student learns from.

A teacher's features become scores in one of two ways. By images: linear discriminant analysis fits a classifier to the features
of labelled train images. By names: cosines with the text features of the class names, as CLIP classifies zero-shot.
Every image is scored once, as it is stored: students of these recipes see it shifted, and the teacher's answer stays.

Letters in shape comments: n images of a split, D features of the teacher, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ....core.errors import UsageError
from ....core.options import parameter
from ....core.progress import Progress
from ....tasks.datasets.base import Dataset
from ....tasks.datasets.split import Split
from ...backbones.weights.checkpoint import read_checkpoint, read_description
from ...backbones.weights.file import read_tensors
from ...backbones.weights.find import shipped_weights
from ...backbones.weights.loading import LoadedBackbone, backbone_class, load_backbone
from ...features.table import feature_table
from ...records.answerer import Pretraining
from ...text.captions import class_names
from ...text.features import text_features
from ...text.prompts import ENSEMBLE, find_prompts
from ..loop.learner import Part
from .base import ImageLearner, Material, Recipe
from .projection import classifier

SHRINKAGE = 0.1  # of the covariance, in units of the features' mean variance
CLIP_SCALE = 100.0  # of cosines, where the weights name none: what CLIP's training ended with


@dataclass(frozen=True)
class Teacher:
    """What a teacher knows of the train images.

    Attributes:
        seen: the training of its weights, with their hash.
        scores: computes its scores of the classes, float32 [n, K], the logits of its labels.
        groups: int64 [K], the coarser class to which each class belongs, for recipes with weak labels.
    """

    seen: Pretraining
    scores: Callable[[], Tensor]
    groups: Tensor | None = None


@dataclass(frozen=True)
class RecipeWithTeacher(Recipe):
    """A recipe whose labels come from another network."""

    teacher: str | None = parameter(
        None, "weights that label the images: a file, shipped ones, or a backbone with weights of its own (timm:, open_clip:)"
    )
    labels: Literal["images", "names"] = parameter(
        "images", "how the teacher knows the classes: by labelled train images, or by their names (backbones with a text tower)"
    )
    labelled: int | None = parameter(None, "images of each class that show the teacher the classes; none: all", minimum=1)
    temperature: float = parameter(1.0, "by which the scores of teacher and student are divided", minimum=0.001)

    shifts: ClassVar[bool] = True

    def teacher_of(self, dataset: Dataset, split: Split, device: torch.device, progress: Progress) -> Teacher:
        """The teacher, which has not encoded anything yet.

        Raises:
            UserError: none is named, there are no such weights, or the classes have no names and are to be known by them.
        """
        if self.teacher is None:
            raise UsageError("the recipe needs a teacher: --set recipe.teacher=FILE, such as weights of bench pretrain")
        network = _network(self.teacher, progress)
        seen = replace(network.pretraining, weights_sha256=network.weights_sha256)
        if self.labels == "images":
            return Teacher(seen, partial(_scores_by_images, network, split, self.labelled, device, progress))
        names = class_names(split, progress)
        return Teacher(seen, partial(_scores_by_names, network, split, dataset.name, names, device, progress))


class TaughtLearner(ImageLearner):
    """Batches are images [B, C, H, W], labels [B] and the teacher's scores [B, K]."""

    def __init__(self, recipe: RecipeWithTeacher, material: Material) -> None:
        """Put a classifier on the backbone, and ask the teacher."""
        super().__init__(material)
        assert material.teacher is not None
        self.temperature = recipe.temperature
        self.head = classifier(material.width, material.classes)
        self.taught = material.teacher.scores().to(self.images.device)  # [n, K]; computed again where a training goes on

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """Shifted images, their labels and what the teacher says of them."""
        images, labels, _ = self.shifted(step, part)
        rows = self.images.rows(step)[part.rank :: part.world]
        return images, labels, self.taught[rows.to(self.taught.device)]


def discriminant(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Linear discriminant analysis: weights and biases of logits, for classes with one covariance and equal shares.

    The covariance within classes is shrunk: a tenth of the features' mean variance is added to its diagonal, so that few images
    are enough.

    Args:
        features: float64 [n, D].
        labels: int64 [n]; every class occurs.
        classes: K.

    Returns:
        [K, D] and [K]; the logits of x are weights · x + biases.
    """
    counts = torch.bincount(labels, minlength=classes)[:, None]
    means = torch.zeros(classes, features.shape[1], dtype=features.dtype).index_add_(0, labels, features) / counts
    within = features - means[labels]
    spread = (features - features.mean(dim=0)).square().mean().clamp(min=1e-12)
    covariance = within.T @ within / len(features)
    covariance.diagonal().add_(SHRINKAGE * spread)
    weights = torch.linalg.solve(covariance, means.T).T
    return weights, -(weights * means).sum(dim=1) / 2


def _network(name: str, progress: Progress) -> LoadedBackbone:
    """The network that a user calls `name`, with its weights.

    Raises:
        UsageError: there are no such weights, or nobody knows whose they are.
    """
    path = shipped_weights().get(name, Path(name))
    if not path.is_file():
        if path.suffix or backbone_class(name).hub_weights(name) is None:
            raise UsageError(f"recipe.teacher={name}: no such file, shipped weights, or backbone with weights of its own")
        return load_backbone(name, {}, None, progress)
    about = read_description(path)
    if about is None:
        raise UsageError(f"recipe.teacher={name}: the file does not say which network it fills; take one of bench pretrain")
    return load_backbone(about.backbone, {}, read_checkpoint(path), progress)


def _scores_by_images(
    network: LoadedBackbone, split: Split, labelled: int | None, device: torch.device, progress: Progress
) -> Tensor:
    features = torch.from_numpy(np.array(feature_table(network, split, device, progress).features)).double()
    labels, offsets = torch.from_numpy(split.labels), split.offsets
    known = features.new_zeros(len(labels), dtype=torch.bool)
    for start, stop in pairwise(offsets):
        known[start : stop if labelled is None else min(stop, start + labelled)] = True
    weights, biases = discriminant(features[known], labels[known], len(split.class_ids))
    return (features @ weights.T + biases).float()


def _scores_by_names(
    network: LoadedBackbone, split: Split, dataset: str, names: tuple[str, ...], device: torch.device, progress: Progress
) -> Tensor:
    texts = text_features(network, find_prompts(ENSEMBLE, dataset), names, device, progress).cpu()  # [K, D]
    features = torch.from_numpy(np.array(feature_table(network, split, device, progress).features)).float()
    learned = {} if network.file is None else read_tensors(network.file)
    scale = learned["logit_scale"].exp().float() if "logit_scale" in learned else CLIP_SCALE
    return scale * torch.nn.functional.normalize(features, dim=1) @ texts.T
