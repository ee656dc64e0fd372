"""Augmentation of whole batches on the device, every random number from a passed generator."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """Shift each image of [B, C, H, W] by up to `padding` pixels each way; the border is repeated outwards."""
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
