"""Named corruptions of images, of severities 1 to 5: a function of the image, its row and the severity alone.

The strengths of noise, blur, JPEG and contrast are those of Hendrycks and Dietterich 2019 ("Benchmarking neural network
robustness to common corruptions and perturbations", arXiv:1903.12261), as in the code that made CIFAR-10-C and ImageNet-C. The
random numbers of a row are the same at every severity, so that a higher one does more of the same: stronger noise of the same
pattern, a larger square around the smaller one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .errors import UsageError, did_you_mean
from .random_streams import Purpose, uniform, words

if TYPE_CHECKING:
    from torch import Tensor

SEVERITIES = (1, 2, 3, 4, 5)
VERSION = 1  # changes when the same image, row and severity give other pixels
SEED = 0  # of the noise and the places of squares: the corrupted images of a dataset are the same for every task
NOISE, PLACES = 0, 1  # streams of random numbers
SMALL = 64  # pixels
SMALL_SIDE, LARGE_SIDE = 32, 224  # of the images that the published strengths were made for
BLUR_REACH = 4.0  # deviations to the end of the kernel, as in the published code
HIDDEN = 128.0  # mid-grey: neither ink nor paper, where an image is a drawing


class Strengths(NamedTuple):
    """What the five severities of a corruption are, for images whose shorter side has at most `SMALL` pixels and for others."""

    small: tuple[float, ...]
    large: tuple[float, ...]


STRENGTHS = {
    # Standard deviation of Gaussian noise, on the scale 0 … 1.
    "noise": Strengths((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    # Standard deviation of a Gaussian kernel in pixels, for a shorter side of SMALL_SIDE or LARGE_SIDE.
    "blur": Strengths((0.4, 0.6, 0.7, 0.8, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0)),
    # Quality of JPEG, from 100 down.
    "jpeg": Strengths((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
    # Share of the colour that is taken away. (This and the next have no published strengths.)
    "grey": Strengths((0.2, 0.4, 0.6, 0.8, 1.0), (0.2, 0.4, 0.6, 0.8, 1.0)),
    # Share of the area that a square hides.
    "occlusion": Strengths((0.05, 0.1, 0.2, 0.3, 0.4), (0.05, 0.1, 0.2, 0.3, 0.4)),
    # Share of the contrast that is left.
    "contrast": Strengths((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
}


@dataclass(frozen=True)
class Corruption:
    """A corruption at a severity.

    Attributes:
        name: noise, blur, jpeg, grey, occlusion or contrast.
        severity: 1 (mild) to 5.
    """

    name: str
    severity: int

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            UsageError: an unknown name, or a severity out of range.
        """
        if self.name not in STRENGTHS:
            raise UsageError(f"--corruption {self.name}: unknown; {did_you_mean(self.name, STRENGTHS)}")
        if self.severity not in SEVERITIES:
            raise UsageError(f"--severity {self.severity}: from {SEVERITIES[0]} to {SEVERITIES[-1]}")

    def __str__(self) -> str:
        """`noise 3`."""
        return f"{self.name} {self.severity}"

    def strength(self, height: int, width: int) -> float:
        """What the severity means for images of this size; a length is scaled with the shorter side."""
        side = min(height, width)
        strengths = STRENGTHS[self.name]
        strength = (strengths.small if side <= SMALL else strengths.large)[self.severity - 1]
        return strength * side / (SMALL_SIDE if side <= SMALL else LARGE_SIDE) if self.name == "blur" else strength

    def apply(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Corrupt images one by one, so that each is the same whichever are corrupted with it.

        Args:
            images: uint8 [n, H, W, C], C 1 or 3.
            rows: int [n], their rows in the split.

        Returns:
            uint8 [n, H, W, C].
        """
        import torch

        corrupt, strength = FUNCTIONS[self.name], self.strength(*images.shape[1:3])
        corrupted = np.empty_like(images)
        # Whoever reads images may compute in 16 bits; the images stay what they are.
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            for image, row, place in zip(images, rows.tolist(), corrupted, strict=True):
                channels_first = torch.from_numpy(image.transpose(2, 0, 1).copy())  # uint8 [C, H, W]
                place[:] = corrupt(channels_first, strength, row).permute(1, 2, 0).numpy()
        return corrupted


def _noise(image: Tensor, deviation: float, row: int) -> Tensor:
    import torch
    from scipy.special import ndtri  # the quantiles of the normal distribution

    random = uniform(words(SEED, Purpose.CORRUPTION, NOISE, row, row + 1, image.numel()))[0]
    normal = torch.from_numpy(ndtri(random - 2.0**-33)).view(image.shape)  # between the steps of 2⁻³²: neither 0 nor 1
    return _rounded(image + 255 * deviation * normal)


def _blur(image: Tensor, deviation: float, row: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    size, deviations = 2 * math.ceil(BLUR_REACH * deviation) + 1, [deviation, deviation]
    if size // 2 >= min(image.shape[1:]):  # edges are mirrored, once
        raise UsageError(f"--corruption blur: images of {image.shape[1]}×{image.shape[2]} pixels are too small for it")
    along_rows = functional.gaussian_blur(image.float(), [size, 1], deviations)
    return _rounded(functional.gaussian_blur(along_rows, [1, size], deviations))


def _jpeg(image: Tensor, quality: float, row: int) -> Tensor:
    import torch
    from PIL import Image  # as in the published code; torchvision is giving its encoder up

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
