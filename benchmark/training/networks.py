"""A network for the images of a train split: how large it wants them, and how they are made ready for it."""

from __future__ import annotations

import numpy as np
from torch import Generator, nn

from ...tasks.datasets.base import Split
from ...tasks.errors import UsageError, UserError
from ..backbones.base import Backbone, Preprocess, feature_width

SAMPLE = 4096  # images that mean and deviation are taken of


def network_for(size: int | None, backbone: Backbone, train: Split, generator: Generator) -> tuple[nn.Module, Preprocess]:
    """The network with initial weights, for images as they are stored, or as it wants them where it refuses those.

    Args:
        size: pixels to which images are resized; None leaves it to the images and the network.
        backbone: the recipe of the network.
        train: the images to learn from; they say channels, mean and deviation.
        generator: on the CPU; draws the initial weights.

    Raises:
        UsageError: it takes no images of `size`.
        UserError: it takes the images neither as they are stored nor as it says it wants them.
    """
    stored, own = train.images.shape[1], backbone.preprocess().size
    state = generator.get_state()
    try:
        return _network(stored if size is None else size, backbone, train, generator)
    except UserError as error:
        if size is not None:
            raise UsageError(f"--size {size}: {error}") from error
        if own == stored:
            raise
        return _network(own, backbone, train, generator.set_state(state))


def _network(size: int, backbone: Backbone, train: Split, generator: Generator) -> tuple[nn.Module, Preprocess]:
    preprocess = _preprocess(train, size)
    module = backbone.build(preprocess.channels, size, generator)
    feature_width(module.eval(), preprocess)
    return module, preprocess


def _preprocess(train: Split, size: int) -> Preprocess:
    """Scale by the mean and deviation of a fixed subset of the train images, one number a channel."""
    sample = np.asarray(train.images[:: max(1, len(train.images) // SAMPLE)], dtype=np.float64) / 255
    mean, std = sample.mean(axis=(0, 1, 2)), sample.std(axis=(0, 1, 2))
    return Preprocess(
        channels=train.images.shape[3],
        size=size,
        mean=tuple(round(float(value), 4) for value in mean),
        std=tuple(round(float(value), 4) for value in std),
    )
