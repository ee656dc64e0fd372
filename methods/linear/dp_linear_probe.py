"""A private linear probe: logistic regression on the support features, trained by gradient descent with noise.

Abadi et al. 2016, "Deep learning with differential privacy", arXiv:1607.00133; for few-shot learning Tobaben et al. 2023, "On
the efficacy of differentially private few-shot image classification", arXiv:2302.01190, whose δ this is, one over the number
of support images. The gradient of each support image is cut to a length C, and to their sum comes Gaussian noise of deviation
σ·C for each weight. Whoever sees the classifier then learns little of any one image: with and without it, the chance of
anything differs by at most a factor exp(ε), but for δ.

An image that is in k noisy sums sees one Gaussian mechanism with the sensitivity √k / σ. Its δ for an ε is known exactly
(Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy", arXiv:1805.06530), and the smallest σ with
the δ wanted is found by halving. With one batch, the default, all images are in every step, and k is the number of steps.

Features are scaled to length 1 first, each by itself, and there is no intercept. The noise of a weight reaches a score by the
coordinate of the query, so what all queries share, an intercept or a mean feature, adds noise and tells no class from another.
`--features center` takes out the mean feature of the train classes, which are public.

With more, place i of the support is in batch i modulo `batches`; the steps take them in turn, and an image is in one step of
each pass. There are ⌈steps / batches⌉ passes. Nothing is drawn or shuffled, and no privacy is claimed from sampling. DP-SGD
then has k = passes. DP-FTRL is Kairouz et al. 2021, "Practical and private (deep) learning without sampling or shuffling",
arXiv:2103.00039: the weights are those at the start of the pass minus the rate times the noisy sum of all gradients since. The
sum's noise comes from a binary tree over the steps of the pass, which starts anew with the next (their appendix D): each step
completes one node, the noise of a sum is that of the few nodes that cover it, and the first image is in ⌊log2 batches⌋ + 1 of
them. So k = passes · (⌊log2 batches⌋ + 1), less for a pass cut short.

The ε and δ hold for all passes together, for whoever sees the weights after every step. Neighbours are two supports of which
one has an empty place where the other has an image. The number of places and their order are public, since without sampling an
image that is left out must not move the others to other batches. For another image in the place the sensitivity doubles.

Differs from Tobaben et al.: no random batches; the backbone, its weights and C, steps and learning rate are taken as public.
Differs from Kairouz et al.: no momentum, and no estimate of Honaker's, which takes more noise out of each sum. The noise comes
from the episode's seed, 24 bits a number: it measures what privacy costs, and protects nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, one_hot, parameter
from ..parts.random_numbers import uniform

HALVINGS = 200
LARGEST_NOISE = 1e9  # σ


@dataclass(frozen=True)
class DPLinearProbe(Method):
    """Private linear probe: logistic regression by DP-SGD or DP-FTRL, for an epsilon (Abadi et al. 2016)."""

    version: ClassVar[str] = "2"
    later_parameters: ClassVar[frozenset[str]] = frozenset({"optimizer", "batches"})
    citation: ClassVar[str] = (
        "Abadi et al. 2016, arXiv:1607.00133; Kairouz et al. 2021, arXiv:2103.00039; Tobaben et al. 2023, arXiv:2302.01190"
    )

    epsilon: float = parameter(8.0, "bound of the logarithm of what an image changes; small is private", above=0)
    delta: float | None = parameter(None, "chance that epsilon does not hold; none: 1 / support images", above=0, below=1)
    clip: float = parameter(1.0, "length that the gradient of an image is cut to", above=0)
    steps: int = parameter(50, "steps of gradient descent, each on a batch", minimum=1)
    learning_rate: float = parameter(0.1, "learning rate", above=0)
    batches: int = parameter(1, "parts of the support, which the steps take in turn", minimum=1)
    optimizer: Literal["dp-sgd", "dp-ftrl"] = parameter(
        "dp-sgd", "dp-sgd: noise in each gradient; dp-ftrl: in each sum of gradients, from a tree over the batches"
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logit."""
        present = episodes.support_labels >= 0  # [E, S]
        rows = normalize(episodes.support, dim=2).masked_fill(~present[..., None], 0)  # [E, S, D]
        targets = one_hot(episodes.support_labels, episodes.ways, rows.dtype)  # [E, S, N]
        sizes = present.sum(dim=1)  # [E]
        deviation = rows.new_tensor([self.clip * self.noise(int(size)) for size in sizes])[:, None, None]
        weights = rows.new_zeros(len(episodes), episodes.ways, rows.shape[2])  # [E, N, D]
        rate = (self.learning_rate * self.batches / sizes)[:, None, None]
        absent = ~episodes.class_mask[:, None]  # [E, 1, N]
        noises = (_normal(episodes.seeds, step, weights[0].numel()).view_as(weights) for step in range(self.steps))
        for step, noise in enumerate(tree_noise(noises, self.batches) if self.optimizer == "dp-ftrl" else noises):
            batch = (slice(None), slice(step % self.batches, None, self.batches))
            logits = torch.bmm(rows[batch], weights.transpose(1, 2)).masked_fill(absent, -torch.inf)
            error = (logits.softmax(dim=2) - targets[batch]) * present[batch][..., None]  # [E, S of the batch, N]
            length = error.norm(dim=2, keepdim=True)  # of the gradient of each image, whose feature has length 1
            gradient = torch.bmm((error * (self.clip / length.clamp(min=self.clip))).transpose(1, 2), rows[batch])
            weights = weights - rate * (gradient + deviation * noise.to(weights.dtype))
        return torch.bmm(normalize(episodes.query, dim=2), weights.transpose(1, 2))

    def noise(self, images: int) -> float:
        """Sigma for a number of support images: the deviation of the noise as a multiple of `clip`."""
        delta = 1 / max(images, 2) if self.delta is None else self.delta
        return noise_multiplier(self.epsilon, delta, self.noisy_sums)

    @property
    def noisy_sums(self) -> int:
        """How many sums with noise an image is in, at most."""
        passes, rest = divmod(self.steps, self.batches)
        if self.optimizer == "dp-ftrl":
            return passes * self.batches.bit_length() + rest.bit_length()  # the nodes above the first leaf of each tree
        return passes + min(rest, 1)


def tree_noise(nodes: Iterable[Tensor], leaves: int) -> Iterator[Tensor]:
    """What each step adds to the noise of the sum of all gradients of its pass.

    Step t completes one node of the tree, which stands for as many steps up to t as the lowest bit of t is worth. It takes the
    place of the nodes that stood for them, and their noise leaves the sum.

    Args:
        nodes: the noise of the node that each step completes.
        leaves: steps of a pass; then a new tree begins, and what noise there is stays.
    """
    standing: list[Tensor] = []  # the nodes that make up the sum; later ones stand for fewer steps
    for step, node in enumerate(nodes):
        leaf = step % leaves + 1
        if leaf == 1:
            standing = []
        kept = leaf.bit_count() - 1
        yield node - sum(standing[kept:])
        standing = [*standing[:kept], node]


@cache
def noise_multiplier(epsilon: float, delta: float, sums: int) -> float:
    """The smallest sigma with which (epsilon, delta) holds where an image is in so many sums with noise."""
    low, high = 0.0, LARGEST_NOISE
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high) if low else high / 2
        low, high = (low, middle) if delta_of(epsilon, middle, sums) <= delta else (middle, high)
    return high


def delta_of(epsilon: float, sigma: float, sums: int) -> float:
    """The delta at an epsilon of so many sums with noise sigma (Balle and Wang 2018, theorem 8)."""
    from scipy.special import log_ndtr, ndtr

    sensitivity = math.sqrt(sums) / sigma
    outside = log_ndtr(-sensitivity / 2 - epsilon / sensitivity)
    return float(ndtr(sensitivity / 2 - epsilon / sensitivity) - math.exp(min(epsilon + outside, 0.0)))


def _normal(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Normal numbers [E, count] by Box and Muller's transform of two uniform ones."""
    radius = (-2 * (1 - uniform(seeds, 2 * stream, count)).log()).sqrt()
    return radius * (2 * math.pi * uniform(seeds, 2 * stream + 1, count)).cos()
