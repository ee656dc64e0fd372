"""Corruptions of images. A corrupted image depends only on the image, its row and the severity.

The random numbers of a row are the same at every severity. A higher severity therefore does more of the same: stronger noise
of the same pattern, a larger square around the smaller one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import UsageError
from ..core.random_streams import Purpose, uniform, words
from .corruptions import Corruption

if TYPE_CHECKING:
    from torch import Tensor

SEED = 0  # of the noise and the places of squares: the corrupted images of a dataset are the same for every task
NOISE, PLACES = 0, 1  # streams of random numbers
BLUR_REACH = 4.0  # deviations to the end of the kernel, as in the published code
HIDDEN = 128.0  # mid-grey: neither ink nor paper, where an image is a drawing


def corrupt(images: np.ndarray, rows: np.ndarray, corruption: Corruption) -> np.ndarray:
    """Corrupt images one by one; the result for an image does not depend on the others.

    Args:
        images: uint8 [n, H, W, C], C 1 or 3.
        rows: int [n], their rows in the split.
        corruption: the corruption and its severity.

    Returns:
        uint8 [n, H, W, C].
    """
    import torch

    change, strength = FUNCTIONS[corruption.name], corruption.strength(*images.shape[1:3])
    corrupted = np.empty_like(images)
    # The reader of the images may compute in 16 bits; the corrupted images must not depend on that.
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        for image, row, place in zip(images, rows.tolist(), corrupted, strict=True):
            channels_first = torch.from_numpy(image.transpose(2, 0, 1).copy())  # uint8 [C, H, W]
            place[:] = change(channels_first, strength, row).permute(1, 2, 0).numpy()
    return corrupted


def _noise(image: Tensor, deviation: float, row: int) -> Tensor:
    import torch
    from scipy.special import ndtri  # the quantiles of the normal distribution

    random = uniform(words(SEED, Purpose.CORRUPTION, NOISE, row, row + 1, image.numel()))[0]
    normal = torch.from_numpy(ndtri(random - 2.0**-33)).view(image.shape)  # half a step lower: strictly between 0 and 1
    return _rounded(image + 255 * deviation * normal)


def _blur(image: Tensor, deviation: float, row: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    size, deviations = 2 * math.ceil(BLUR_REACH * deviation) + 1, [deviation, deviation]
    if size // 2 >= min(image.shape[1:]):  # the image is mirrored at its edges, only once
        raise UsageError(f"--corruption blur: images of {image.shape[1]}×{image.shape[2]} pixels are too small for it")
    along_rows = functional.gaussian_blur(image.float(), [size, 1], deviations)
    return _rounded(functional.gaussian_blur(along_rows, [1, size], deviations))


def _jpeg(image: Tensor, quality: float, row: int) -> Tensor:
    import torch
    from PIL import Image  # as in the published code; torchvision's own encoder is deprecated

    file = io.BytesIO()
    channels_last = image.permute(1, 2, 0).numpy()
    Image.fromarray(channels_last.squeeze(2) if len(image) == 1 else channels_last).save(file, "JPEG", quality=int(quality))
    return torch.from_numpy(np.array(Image.open(file))).view(*image.shape[1:], len(image)).permute(2, 0, 1)


def _grey(image: Tensor, share: float, row: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.adjust_saturation(image, 1 - share)


def _occlusion(image: Tensor, share: float, row: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    down, right = uniform(words(SEED, Purpose.CORRUPTION, PLACES, row, row + 1, 2))[0].tolist()
    height, width = (round(share**0.5 * side) for side in image.shape[1:])
    top, left = round(down * (image.shape[1] - height)), round(right * (image.shape[2] - width))
    return functional.erase(image, top, left, height, width, image.new_full((1, 1, 1), HIDDEN))


def _contrast(image: Tensor, share: float, row: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.adjust_contrast(image, share)


def _rounded(image: Tensor) -> Tensor:
    return image.round().clamp(0, 255).byte()


FUNCTIONS: dict[str, Callable[[Tensor, float, int], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "jpeg": _jpeg,
    "grey": _grey,
    "occlusion": _occlusion,
    "contrast": _contrast,
}
