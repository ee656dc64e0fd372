"""Fitting a classifier: on a folder of photos, or on images and labels in memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UsageError, UserError
from ...core.progress import SILENT, Progress
from ...methods.base import Method
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.photos import Photos
from ...tasks.datasets.reading.image_files import Square
from ...tasks.datasets.split import SPLITS, Images
from .. import registry
from ..backbones.weights.find import find_weights, with_checkpoint
from ..backbones.weights.loading import LoadedBackbone, backbone_class, learned_part, load_backbone
from ..config import RunConfig
from ..device import choose_device
from ..evaluation.checks import check_method, check_options
from ..evaluation.plan import make_method, with_backbone
from ..features.encode import DEFAULT, encode
from ..features.table import feature_table
from .calibration import calibrate
from .classifier import Classifier
from .heldout import HeldOut, hold_out

QUANTILE = 0.95  # share of known photos that count as known


@dataclass(frozen=True)
class Parts:
    """What a classifier is made of before it has seen a photo.

    Attributes:
        method: on features.
        name: of the method.
        backbone: with weights.
        learned: what the method learned beside it.
        device: where it computes.
    """

    method: Method
    name: str
    backbone: LoadedBackbone
    learned: nn.Module | None
    device: torch.device


def parts_of(config: RunConfig, dataset: Dataset | None, ways: int, progress: Progress = SILENT) -> Parts:
    """Look up method, backbone and weights as `bench run` does.

    Args:
        config: method, backbone, weights or checkpoint, settings and device; the rest does not matter.
        dataset: whose images will be encoded; None for images in memory.
        ways: number of classes.
        progress: told which of a weights file's tensors the backbone took.

    Raises:
        UsageError: an unknown name or parameter, or a method that cannot be fitted.
        UserError: weights or plug-ins cannot be read.
    """
    check_options(config)
    config, checkpoint = with_checkpoint(config)
    method, _ = make_method(config.method, config.settings_of("method"))
    check_fits(method, config.method)
    config = with_backbone(config, method)
    assert config.backbone is not None
    tune, _ = check_method(config, method)
    if dataset is not None and backbone_class(config.backbone).precomputed(config, dataset, method, tune) is not None:
        raise UsageError(f"--backbone {config.backbone}: imported features have no network for new photos")
    weights = checkpoint or find_weights(config.backbone, config.weights, config.dataset)
    backbone = load_backbone(config.backbone, config.settings_of("backbone"), weights, progress, tune)
    learned = learned_part(method, config.method, backbone, ways, checkpoint)
    return Parts(method, config.method, backbone, learned, choose_device(config.device))


def check_fits(method: Method, name: str) -> None:
    """Check that a method answers from features and the support alone, each query for itself.

    Raises:
        UsageError: it does not; the line says what it needs.
    """
    needs = {
        "the images of the support with every answer": method.inputs_with("none") != "features",
        "to train on the support at every answer": method.adapts,
        "all queries at once (it is transductive)": method.transductive,
        "texts and a text tower": method.uses_text or method.uses_text_tower,
        "the mean feature of train classes": method.uses_train_mean,
        "the features of train classes": method.uses_train_classes,
        "no photos": not method.uses_support,
    }
    for what, needed in needs.items():
        if needed:
            raise UsageError(f"--method {name} needs {what}; take one on features, such as ridge, protonet or linear-probe")


@dataclass(frozen=True)
class Encoded:
    """Photos that a classifier is fitted on.

    Attributes:
        features: float32 [n, D].
        labels: int64 [n], 0 … N − 1.
        classes: names of the N classes.
        same: int [n], equal for copies of one photo.
        square: how they became square.
    """

    features: Tensor
    labels: np.ndarray
    classes: tuple[str, ...]
    same: Sequence[int]
    square: Square


def fit_folder(config: RunConfig, quantile: float = QUANTILE, progress: Progress = SILENT) -> Classifier:
    """A classifier of all classes of a user's photos, whatever their split, on all of them.

    Raises:
        UsageError: as `parts_of`.
        UserError: there are fewer than two classes, or an image cannot be read.
    """
    dataset = folder_of(config)
    parts = parts_of(config, dataset, len(classes_of(dataset)), progress)
    return fitted(parts, photos_of(dataset, parts, progress), quantile, progress)


def folder_of(config: RunConfig) -> Photos:
    """A user's photos, with two classes or more.

    Raises:
        UsageError: the config names a dataset that is not the user's.
    """
    dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    if not isinstance(dataset, Photos):
        raise UsageError(f"{config.dataset} is a published dataset; this takes photos of your own (bench run evaluates others)")
    _check_classes(len(classes_of(dataset)), dataset.owner)
    return dataset


def classes_of(dataset: Photos) -> list[str]:
    """The names of all classes, split by split."""
    return [name for split in SPLITS for _, name in dataset.class_list(split)]


def photos_of(dataset: Photos, parts: Parts, progress: Progress = SILENT) -> Encoded:
    """All photos of a folder, encoded once and kept in the cache.

    Raises:
        UserError: an image cannot be read.
    """
    sized = dataset.for_backbone(parts.backbone.square)
    splits = [sized.split(name, progress) for name in SPLITS if dataset.class_list(name)]
    tables = [feature_table(parts.backbone, split, parts.device, progress).features for split in splits]
    starts = np.cumsum([0, *(len(split.class_ids) for split in splits)])
    return Encoded(
        features=torch.from_numpy(np.concatenate(tables)).to(parts.device).float(),
        labels=np.concatenate([split.labels + start for split, start in zip(splits, starts[:-1], strict=True)]),
        classes=tuple(classes_of(dataset)),
        same=copies(*(split.images for split in splits)),
        square=sized.square,
    )


def fit_images(
    parts: Parts, images: Images, labels: np.ndarray, classes: Sequence[str], square: Square, quantile: float = QUANTILE
) -> Classifier:
    """A classifier fitted on images uint8 [n, size, size, 3], made square so, with labels int64 [n], 0 … N − 1."""
    _check_classes(len(classes), "the labels")
    features = np.concatenate([batch.features for batch in encode(parts.backbone, images, parts.device, DEFAULT)])
    rows = torch.from_numpy(features).to(parts.device).float()
    return fitted(parts, Encoded(rows, labels, tuple(classes), copies(images), square), quantile)


def fitted(parts: Parts, photos: Encoded, quantile: float, progress: Progress = SILENT) -> Classifier:
    """The classifier of photos. Parameters that are "auto" are chosen on held-out ones."""
    chosen, held = best_choice(parts, photos, progress)
    calibration = calibrate(held, quantile)
    return Classifier(
        method=chosen,
        method_name=parts.name,
        backbone=parts.backbone,
        learned=parts.learned,
        features=photos.features,
        labels=photos.labels.astype(np.int64),
        classes=photos.classes,
        square=photos.square,
        calibration=calibration,
        device=parts.device,
    )


def best_choice(parts: Parts, photos: Encoded, progress: Progress = SILENT, shots: int | None = None) -> tuple[Method, HeldOut]:
    """The method with its "auto" parameters decided by accuracy on held-out photos, and what it said of these (`hold_out`)."""
    chosen, held = parts.method, None
    undecided = chosen.undecided_with("none")
    for values in itertools.product(*(parts.method.choices[name] for name in undecided)):
        candidate = replace(parts.method, **dict(zip(undecided, values, strict=True)))
        found = hold_out(candidate, parts.name, photos.features, photos.labels, photos.same, parts.learned, shots)
        if held is None or found.accuracy > held.accuracy:
            held, chosen = found, candidate
    assert held is not None
    if undecided:
        told = ", ".join(f"{name}={getattr(chosen, name)}" for name in undecided)
        progress.say(f"{parts.name}: {told}, chosen on {len(held.labels)} held-out photos")
    return chosen, held


def copies(*parts: Images) -> list[int]:
    """For each image a number, equal for images with the same pixels."""
    seen: dict[bytes, int] = {}
    images = (np.asarray(images[row]) for images in parts for row in range(len(images)))
    return [seen.setdefault(hashlib.sha256(image.tobytes()).digest(), len(seen)) for image in images]


def _check_classes(count: int, owner: str) -> None:
    if count < 2:
        raise UserError(f"{owner}: {count} class{'' if count == 1 else 'es'}; a classifier needs two or more")
