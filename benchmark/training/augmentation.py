"""Augmentation of the images of a training step, whole batches at a time on the device.

Letters in shape comments: B images, C channels, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Generator, Tensor

from ...methods.parts.augmentation import random_crop, random_flip
from ..backbones.base import Preprocess
from .views import random_affine, random_colours


@dataclass(frozen=True)
class Augmentation:
    """Random shifts or random resized crops, mirroring and colours.

    Attributes:
        crop: largest random shift in pixels.
        flip: whether half of the images are mirrored.
        smallest_area: lower end of the `scale` of random resized crops, a share of the image's area; None: no such crops.
        jitter: largest relative change of brightness, contrast and saturation, of colour images.
    """

    crop: int
    flip: bool
    smallest_area: float | None = None
    jitter: float = 0.0

    def __call__(self, stored: Tensor, preprocess: Preprocess, generator: Generator) -> Tensor:
        """Images uint8 [B, H, W, C] to float [B, channels, size, size], as the network takes them."""
        images = unscaled(stored, preprocess)
        if self.smallest_area is None:
            images = random_crop(images, self.crop, generator) if self.crop else images
            images = random_flip(images, generator) if self.flip else images
        else:
            images = random_affine(images, (self.smallest_area, 1.0), 0.5 if self.flip else 0.0, 0.0, generator)
        images = random_colours(images, self.jitter, 0.0, generator, changed=1.0) if self.jitter else images
        return scaled(images, preprocess)


def unscaled(stored: Tensor, preprocess: Preprocess) -> Tensor:
    """Images of the right size and number of channels on the scale 0 … 1: colours change before the mean is taken off."""
    channels = preprocess.channels
    return replace(preprocess, mean=(0.0,) * channels, std=(1.0,) * channels)(stored)


def scaled(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Take the mean off and divide by the deviation."""
    mean, std = (images.new_tensor(value)[:, None, None] for value in (preprocess.mean, preprocess.std))
    return (images - mean) / std
