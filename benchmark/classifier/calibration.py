"""From scores to probabilities, and from distances to "unlike all classes", by photos that were held out.

A probability is softmax(score / temperature), with the temperature that explains the held-out photos best (Guo et al. 2017, "On
calibration of modern neural networks", arXiv:1706.04599). Their labels are smoothed as Platt (1999) does, since a few photos
that are all right would ask for certainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from .heldout import FOLDS, HeldOut

HOTTEST = 20.0  # bound of the temperature's logarithm either way
FEWEST = 10  # held-out photos for a temperature and a threshold
WIDER = 1 + FOLDS / (FOLDS - 1)  # 2.25: `heldout.wider_of` five equal folds


@dataclass(frozen=True)
class Calibration:
    """What was learned from held-out photos.

    Attributes:
        temperature: that scores are divided by.
        radius: largest distance to a support photo (1 − cosine) of a photo that counts as known; None: nobody knows.
        photos: how many were held out.
        accuracy: of these, 0 to 1; None without any.
        wider: `HeldOut.wider` of theirs.
    """

    temperature: float = 1.0
    radius: float | None = None
    photos: int = 0
    accuracy: float | None = None
    wider: float = WIDER

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy on new photos of these classes; 0 to 1 without any photo."""
        return (0.0, 1.0) if self.accuracy is None else promised(self.accuracy, self.photos, self.wider)


def promised(accuracy: float, photos: int, wider: float) -> tuple[float, float]:
    """The 95 % interval of the accuracy on new photos of the same classes: Wilson's (1927) for `wider` times fewer photos.

    Args:
        accuracy: on held-out photos, 0 to 1.
        photos: how many these are.
        wider: their `HeldOut.wider`.
    """
    square = norm.ppf(0.975) ** 2 * wider / photos  # z²/n of Wilson's formula
    middle = (accuracy + square / 2) / (1 + square)
    half = math.sqrt(square * accuracy * (1 - accuracy) + square**2 / 4) / (1 + square)
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def calibrate(held: HeldOut, quantile: float) -> Calibration:
    """The calibration by held-out photos; with fewer than ten, temperature and radius stay unknown.

    Args:
        held: what the method said of them.
        quantile: share of the known photos that counts as known, 0 to 1.
    """
    photos = len(held.labels)
    accuracy = held.accuracy if photos else None
    if photos < FEWEST:
        return Calibration(photos=photos, accuracy=accuracy, wider=held.wider)
    radius = float(np.quantile(held.distances, quantile))
    return Calibration(temperature(held.scores, held.labels), radius, photos, accuracy, held.wider)


def temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that maximises the smoothed likelihood of labels [m] under scores [m, N]."""
    ways, right = scores.shape[1], (len(labels) + 1) / (len(labels) + 2)
    targets = np.full(scores.shape, (1 - right) / (ways - 1))
    targets[np.arange(len(labels)), labels] = right
    finite = np.where(np.isfinite(scores), scores, np.nanmin(scores[np.isfinite(scores)]))

    def loss(log_temperature: float) -> float:
        return -(targets * log_softmax(finite / math.exp(log_temperature), axis=1)).sum(axis=1).mean()

    return math.exp(minimize_scalar(loss, bounds=(-HOTTEST, HOTTEST), method="bounded").x)


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities float64 [q, N] of scores [q, N]; a score of −∞ gives 0."""
    return softmax(scores / temperature, axis=1)
