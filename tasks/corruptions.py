"""The names, severities and strengths of corruptions of images; corrupting.py applies them.

The strengths of noise, blur, JPEG and contrast are those of Hendrycks and Dietterich 2019 ("Benchmarking neural network
robustness to common corruptions and perturbations", arXiv:1903.12261), as in the code that made CIFAR-10-C and ImageNet-C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..core.errors import UsageError, did_you_mean

SEVERITIES = (1, 2, 3, 4, 5)
VERSION = 1  # changes when the same image, row and severity give other pixels
SMALL = 64  # pixels
SMALL_SIDE, LARGE_SIDE = 32, 224  # pixels a side of the images for which the strengths were published


class Strengths(NamedTuple):
    """Strengths of the five severities: for images whose shorter side has at most `SMALL` pixels, and for larger ones."""

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
        """Check name and severity.

        Raises:
            UsageError: the name is unknown, or the severity is out of range.
        """
        if self.name not in STRENGTHS:
            raise UsageError(f"--corruption {self.name}: unknown; {did_you_mean(self.name, STRENGTHS)}")
        if self.severity not in SEVERITIES:
            raise UsageError(f"--severity {self.severity}: from {SEVERITIES[0]} to {SEVERITIES[-1]}")

    def __str__(self) -> str:
        return f"{self.name} {self.severity}"

    def strength(self, height: int, width: int) -> float:
        """The strength of this severity for images of a size in pixels. The strength of blur grows with the shorter side."""
        side = min(height, width)
        strengths = STRENGTHS[self.name]
        strength = (strengths.small if side <= SMALL else strengths.large)[self.severity - 1]
        return strength * side / (SMALL_SIDE if side <= SMALL else LARGE_SIDE) if self.name == "blur" else strength
