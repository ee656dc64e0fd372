"""Views: random crops of images with changed colours, whole batches at a time on the device.

Every number comes from the generator that is passed. Crop, flip and rotation are one affine map, so each pixel of a view is
interpolated once. The distortions are those of SimCLR (Chen et al. 2020, arXiv:2002.05709, appendix A) but the shift of hue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ..backbones.image_settings import LUMA

DISTORTED = 0.8  # share of the views whose colours are changed, as in SimCLR
ASPECT = 4 / 3  # the crop's width over its height is from 1 / ASPECT to ASPECT
BLUR = (0.1, 2.0)  # deviation of the Gaussian in pixels


@dataclass(frozen=True)
class Views:
    """The distribution of views.

    Attributes:
        areas: the `scale` of random resized crops: smallest and largest share of the image's area, 0 < smallest ≤ largest ≤ 1.
        flip: share of the views that are mirrored.
        rotation: largest angle, in degrees, by which a crop is turned either way; what lies outside repeats the border.
        jitter: largest relative change of brightness, contrast and saturation.
        grey: share of the views without colour.
        blur: share of the blurred views.
    """

    areas: tuple[float, float]
    flip: float = 0.0
    rotation: float = 0.0
    jitter: float = 0.0
    grey: float = 0.0
    blur: float = 0.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """One view of each image: float [B, C, H, W] in 0 … 1 to the same; colours change where C is 3."""
        views = random_affine(images, self.areas, self.flip, self.rotation, generator)
        if images.shape[1] == 3:
            views = random_colours(views, self.jitter, self.grey, generator) if self.jitter or self.grey else views
            views = random_blur(views, self.blur, generator) if self.blur else views
        return views


def random_affine(images: Tensor, areas: tuple[float, float], flip: float, rotation: float, generator: Generator) -> Tensor:
    """Crop each image of [B, C, H, W] at random, mirror and turn some, and scale them to the size of the image again.

    Args:
        images: float.
        areas: smallest and largest area of a crop as a share of the image's.
        flip: probability of mirroring.
        rotation: largest angle in degrees.
        generator: of the images' device.
    """
    area, aspect, angle, mirror, right, down = _uniform(6, len(images), images, generator)
    area = areas[0] + (areas[1] - areas[0]) * area
    side = area.sqrt()
    stretch = torch.exp((2 * aspect - 1) * math.log(ASPECT) / 2)  # the aspect ratio is uniform on a logarithmic scale
    stretch = torch.minimum(torch.maximum(stretch, side), 1 / side)  # neither side is longer than the image's
    width, height = side * stretch, side / stretch
    angle = (2 * angle - 1) * math.radians(rotation)
    sign = torch.where(mirror < flip, -1.0, 1.0)
    cosine, sine = angle.cos(), angle.sin()
    # Rows of the map from coordinates of the view to those of the image, both from -1 to 1: turn, mirror, scale, shift.
    rows = [
        torch.stack([width * sign * cosine, -width * sign * sine, (1 - width) * (2 * right - 1)], dim=1),
        torch.stack([height * sine, height * cosine, (1 - height) * (2 * down - 1)], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), [*images.shape], align_corners=False)
    return functional.grid_sample(images.contiguous(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_colours(images: Tensor, jitter: float, grey: float, generator: Generator, changed: float = DISTORTED) -> Tensor:
    """Change brightness, contrast and saturation, in this order, of images [B, 3, H, W] in 0 … 1, and grey some.

    Args:
        images: float.
        jitter: each of the three is multiplied by 1 − jitter to 1 + jitter.
        grey: probability of losing the colour.
        generator: of the images' device.
        changed: share of the images that are multiplied so.
    """
    factors = _uniform(5, len(images), images, generator)
    brightness, contrast, saturation = (
        torch.where(factors[3] < changed, 1 + jitter * (2 * factor - 1), 1.0)[:, None, None, None] for factor in factors[:3]
    )
    saturation = torch.where(factors[4][:, None, None, None] < grey, 0.0, saturation)
    bright = (images * brightness).clamp_(0, 1)
    mean = _luma(bright).mean(dim=(1, 2, 3), keepdim=True)
    contrasted = torch.lerp(mean, bright, contrast).clamp_(0, 1)
    return torch.lerp(_luma(contrasted), contrasted, saturation).clamp_(0, 1)


def random_blur(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Blur a share of the images of [B, C, H, W] by Gaussians about a tenth of the image wide, each of its own deviation."""
    chosen, deviation = _uniform(2, len(images), images, generator)
    deviation = BLUR[0] + (BLUR[1] - BLUR[0]) * deviation
    reach = max(1, round(images.shape[-1] / 20))  # pixels to either side
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / deviation[:, None]) ** 2)  # [B, K]
    weights = torch.where(chosen[:, None] < share, weights, (offsets == 0).to(weights.dtype))
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None, None]  # [B, K, 1, 1, 1]
    for dim in (2, 3):
        padded = functional.pad(images, (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0), mode="replicate")
        length, blurred = images.shape[dim], torch.zeros_like(images)
        for k in range(len(offsets)):
            blurred.addcmul_(padded.narrow(dim, k, length), weights[:, k])
        images = blurred
    return images


def _luma(images: Tensor) -> Tensor:
    """Grey values [B, 1, H, W]."""
    red, green, blue = images.unbind(dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def _uniform(kinds: int, batch: int, images: Tensor, generator: Generator) -> Tensor:
    """Numbers from 0 to 1, [kinds, B]."""
    return torch.rand(kinds, batch, generator=generator, device=images.device)
