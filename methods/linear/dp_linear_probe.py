"""A private linear probe: logistic regression on the support features, trained by gradient descent with noise.

Abadi et al. 2016, "Deep learning with differential privacy", arXiv:1607.00133; for few-shot learning Tobaben et al. 2023, "On
the efficacy of differentially private few-shot image classification", arXiv:2302.01190, whose δ this is, one over the number
of support images. The gradient of each support image is cut to a length C, and to their sum comes Gaussian noise of deviation
σ·C for each weight. Whoever sees the classifier then learns little of any one image: with and without it, the chance of
anything differs by at most a factor exp(ε), but for δ.

All support images are in every step, so that the steps together are one Gaussian mechanism with the sensitivity √steps / σ.
Its δ for an ε is known exactly (Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy",
arXiv:1805.06530), and the smallest σ with the δ wanted is found by halving. Features are scaled to length 1 first, each by
itself.

Differs from Tobaben et al.: full batches in place of random ones; the backbone, its weights and C, steps and learning rate
are taken as public. The noise comes from the episode's seed, 24 bits a number: it measures what privacy costs, and protects
nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ..base import Episodes, Method, one_hot, parameter
from ..parts.random_numbers import uniform

HALVINGS = 200
LARGEST_NOISE = 1e9  # σ


@dataclass(frozen=True)
class DPLinearProbe(Method):
    """Private linear probe: logistic regression by full-batch DP-SGD, for an epsilon (Abadi et al. 2016)."""

    citation: ClassVar[str] = "Abadi et al. 2016, arXiv:1607.00133; Tobaben et al. 2023, arXiv:2302.01190"

    epsilon: float = parameter(8.0, "bound of the logarithm of what an image changes; small is private", above=0)
    delta: float | None = parameter(None, "chance that epsilon does not hold; none: 1 / support images", above=0, below=1)
    clip: float = parameter(1.0, "length that the gradient of an image is cut to", above=0)
    steps: int = parameter(50, "steps of gradient descent, each on the whole support", minimum=1)
    learning_rate: float = parameter(5.0, "learning rate", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logit."""
        present = episodes.support_labels >= 0  # [E, S]
        rows = pad(normalize(episodes.support, dim=2), (0, 1), value=1.0).masked_fill(~present[..., None], 0)  # [E, S, D + 1]
        targets = one_hot(episodes.support_labels, episodes.ways, rows.dtype)  # [E, S, N]
        sizes = present.sum(dim=1)  # [E]
        deviation = rows.new_tensor([self.clip * self.noise(int(size)) for size in sizes])[:, None, None]
        weights = rows.new_zeros(len(episodes), episodes.ways, rows.shape[2])  # [E, N, D + 1]
        rate = (self.learning_rate / sizes)[:, None, None]
        absent = ~episodes.class_mask[:, None]  # [E, 1, N]
        lengths = rows.norm(dim=2, keepdim=True)  # [E, S, 1]
        for step in range(self.steps):
            logits = torch.bmm(rows, weights.transpose(1, 2)).masked_fill(absent, -torch.inf)
            error = (logits.softmax(dim=2) - targets) * present[..., None]  # [E, S, N]
            length = error.norm(dim=2, keepdim=True) * lengths  # of the gradient of each image
            gradient = torch.bmm((error * (self.clip / length.clamp(min=self.clip))).transpose(1, 2), rows)
            noise = _normal(episodes.seeds, step, weights[0].numel()).view_as(weights).to(weights.dtype)
            weights = weights - rate * (gradient + deviation * noise)
        query = pad(normalize(episodes.query, dim=2), (0, 1), value=1.0)
        return torch.bmm(query, weights.transpose(1, 2))

    def noise(self, images: int) -> float:
        """Sigma for a number of support images: the deviation of the noise as a multiple of `clip`."""
        return noise_multiplier(self.epsilon, 1 / max(images, 2) if self.delta is None else self.delta, self.steps)


@cache
def noise_multiplier(epsilon: float, delta: float, steps: int) -> float:
    """The smallest sigma with which so many steps are (epsilon, delta)-private, when one image is added or left out."""
    low, high = 0.0, LARGEST_NOISE
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high) if low else high / 2
        low, high = (low, middle) if delta_of(epsilon, middle, steps) <= delta else (middle, high)
    return high


def delta_of(epsilon: float, sigma: float, steps: int) -> float:
    """The delta at an epsilon of so many steps with noise sigma (Balle and Wang 2018, theorem 8)."""
    from scipy.special import log_ndtr, ndtr

    sensitivity = math.sqrt(steps) / sigma
    outside = log_ndtr(-sensitivity / 2 - epsilon / sensitivity)
    return float(ndtr(sensitivity / 2 - epsilon / sensitivity) - math.exp(min(epsilon + outside, 0.0)))


def _normal(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Normal numbers [E, count] by Box and Muller's transform of two uniform ones."""
    radius = (-2 * (1 - uniform(seeds, 2 * stream, count)).log()).sqrt()
    return radius * (2 * math.pi * uniform(seeds, 2 * stream + 1, count)).cos()
