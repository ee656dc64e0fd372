"""A network for the images of a train split: with weights or without, and how images are made ready for it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Generator, nn

from ...core.errors import UsageError, UserError
from ...core.options import Settings
from ...core.progress import Progress
from ...tasks.datasets.split import Split
from ..backbones.base import Backbone, Preprocess, feature_width
from ..backbones.weights.find import find_weights
from ..backbones.weights.loading import load_backbone, make_backbone
from ..records.answerer import Pretraining
from .meta.train_config import TrainConfig

SAMPLE = 4096  # images that mean and deviation are taken of


class Network(NamedTuple):
    """A network that a meta-training starts from.

    Attributes:
        backbone: the recipe of the network.
        parameters: of it, with what was set of its images.
        module: the network.
        preprocess: makes images ready for it.
        seen: what its weights have seen; None for initial weights.
    """

    backbone: Backbone
    parameters: Settings
    module: nn.Module
    preprocess: Preprocess
    seen: Pretraining | None


def network_of(config: TrainConfig, train: Split, generator: Generator, progress: Progress) -> Network:
    """The network of a meta-training, with weights or without."""
    if config.weights is None:
        backbone = make_backbone(config.backbone, config.settings_of("backbone"))
        return Network(backbone, backbone.parameters, *network_for(config.size, backbone, train, generator), None)
    weights = find_weights(config.backbone, config.weights, config.dataset)
    loaded = load_backbone(config.backbone, config.settings_of("backbone"), weights, progress)
    if config.size not in (None, loaded.preprocess.size):
        raise UsageError(f"--size {config.size}: the weights {loaded.weights} take images of {loaded.preprocess.size} pixels")
    seen = replace(loaded.pretraining, weights_sha256=loaded.weights_sha256)
    return Network(loaded.recipe, loaded.parameters, loaded.module, loaded.preprocess, seen)


def network_for(
    size: int | None, backbone: Backbone, train: Split, generator: Generator, with_text: bool = False
) -> tuple[nn.Module, Preprocess]:
    """The network with initial weights, for images as they are stored, or as it wants them where it refuses those.

    Args:
        size: pixels to which images are resized; None leaves it to the images and the network.
        backbone: the recipe of the network.
        train: the images to learn from; they say channels, mean and deviation.
        generator: on the CPU; draws the initial weights.
        with_text: whether the text tower is wanted too; the network is then a `DualEncoder`.

    Raises:
        UsageError: it takes no images of `size`.
        UserError: it takes the images neither as they are stored nor as it says it wants them, or has no text tower.
    """
    stored, own = train.images.shape[1], backbone.preprocess().size
    state = generator.get_state()
    try:
        return _network(stored if size is None else size, backbone, train, generator, with_text)
    except UserError as error:
        if size is not None:
            raise UsageError(f"--size {size}: {error}") from error
        if own == stored:
            raise
        return _network(own, backbone, train, generator.set_state(state), with_text)


def _network(
    size: int, backbone: Backbone, train: Split, generator: Generator, with_text: bool
) -> tuple[nn.Module, Preprocess]:
    preprocess = _preprocess(train, size, backbone.colour_only)
    make = backbone.dual_encoder if with_text else backbone.build
    module = make(preprocess.channels, size, generator)
    feature_width(module.eval(), preprocess)
    return module, preprocess


def _preprocess(train: Split, size: int, colour_only: bool) -> Preprocess:
    """Scale by the mean and deviation of a fixed subset of the train images, one number a channel."""
    sample = np.asarray(train.images[:: max(1, len(train.images) // SAMPLE)], dtype=np.float64) / 255
    mean, std = sample.mean(axis=(0, 1, 2)), sample.std(axis=(0, 1, 2))
    if colour_only and len(mean) == 1:  # grey images are repeated
        mean, std = mean.repeat(3), std.repeat(3)
    return Preprocess(
        channels=len(mean),
        size=size,
        mean=tuple(round(float(value), 4) for value in mean),
        std=tuple(round(float(value), 4) or 1.0 for value in std),  # a channel may be the same in all images
    )
