"""Changed copies of images, whole batches at a time on their device.

Pseudo-queries are changed copies of the support, which take the place of queries in fine-tuning. They are those of P>M>F (Hu,
Li, Stühmer, Kim and Hospedales 2022, arXiv:2204.07305), whose augmentation is a flip followed by the "colour" and "translation"
of DiffAugment (Zhao, Liu, Lin, Zhu and Han 2020, arXiv:2006.10738). With each u drawn uniformly from [0, 1):

- flip, of one image in two;
- brightness: u − ½ is added; saturation: the distance from the mean of the channels times 2·u; contrast: the distance from the
  mean of the image times ½ + u;
- translation by up to 0.125 of the side, each way.

Nine images in ten are changed. As in the paper's code, the images are already normalised for the backbone by mean and
deviation: brightness is in units of that deviation, and values are not clipped at black and white.

Differs from that code: whether an image is changed and mirrored is drawn for each image instead of once for all; a translation
fills the gap by repeating the border instead of grey, so that a bright background stays bright.

Every random number depends only on the episode's seed and on the places of copy and image in the episode. Other episodes, the
device and padding have no effect.

The random shift and flip draw from a given generator.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .random_numbers import uniform

CHANGED = 0.9  # share of the images
SHIFT = 0.125  # of the side
FLIPPED = 0.5  # of the changed images
NUMBERS = 7  # drawn for an image


def pseudo_queries(images: Tensor, seeds: Tensor, copy: int, flip: bool) -> Tensor:
    """Make a changed copy of each image.

    Args:
        images: float [E, S, C, H, W], any mean and scale.
        seeds: int64 [E], seeds of the episodes.
        copy: number of the copy, from 0; each number has random numbers of its own.
        flip: whether to mirror some images left to right.

    Returns:
        The same shape, in the memory format channels_last.
    """
    episodes, shots = images.shape[:2]
    numbers = uniform(seeds, copy, shots * NUMBERS).view(episodes * shots, NUMBERS).unbind(dim=1)  # each [B]
    changed, mirrored, bright, saturated, contrasted, down, right = numbers
    changed = changed < CHANGED
    mirrored = (mirrored < FLIPPED) & changed & flip
    down, right = (_shift(number, changed, side) for number, side in ((down, images.shape[3]), (right, images.shape[4])))
    moved = _moved(images.flatten(0, 1), down, right, mirrored)
    return _recoloured(moved, bright, saturated, contrasted, changed).unflatten(0, (episodes, shots))


def _shift(number: Tensor, changed: Tensor, side: int) -> Tensor:
    """Shifts in whole pixels [B], uniform from −most to most; 0 for an image that stays unchanged."""
    most = int(SHIFT * side + 0.5)
    return ((number * (2 * most + 1)).long() - most).masked_fill(~changed, 0)


def _moved(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror images [B, C, H, W], then shift them by pixels [B] and repeat the border, with one look-up for every pixel."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down[:, None]).clamp_(0, height - 1)  # [B, H]
    columns = (torch.arange(width, device=images.device) - right[:, None]).clamp_(0, width - 1)  # [B, W]
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _recoloured(images: Tensor, bright: Tensor, saturated: Tensor, contrasted: Tensor, changed: Tensor) -> Tensor:
    """Change brightness, saturation and contrast of images [B, C, H, W], in this order, by numbers [B]; partly in place."""
    shift, colour, spread = (
        torch.where(changed, value, neutral)[:, None, None, None]
        for value, neutral in ((bright - 0.5, 0.0), (2 * saturated, 1.0), (contrasted + 0.5, 1.0))
    )
    images += shift
    if images.shape[1] > 1:
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, colour)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, spread)


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """Random shift: move each image of [B, C, H, W] by up to `padding` pixels each way, and repeat the border."""
    batch, _, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4, mode="replicate")
    top = torch.randint(2 * padding + 1, (batch, 1), generator=generator, device=images.device)
    left = torch.randint(2 * padding + 1, (batch, 1), generator=generator, device=images.device)
    rows = top + torch.arange(height, device=images.device)  # [B, H]
    columns = left + torch.arange(width, device=images.device)  # [B, W]
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image of [B, C, H, W] left to right with probability one half."""
    flip = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(3), images)
