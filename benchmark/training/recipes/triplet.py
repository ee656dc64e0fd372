"""Triplets: an image is nearer to another one of its class than to one of another class, by a margin.

Schroff, Kalenichenko and Philbin 2015, "FaceNet: a unified embedding for face recognition and clustering", arXiv:1503.03832:
the squared distance of embeddings of length 1. With `measure=matching` it is what Sun et al. 2020, "View-invariant
probabilistic embedding for human pose", arXiv:1912.01001, compare: -log of the probability that two images match,
sigmoid(b - a·d), with d the distance of the embeddings and a, b learned. Their margin is log 2, and they add a little of it for
each pair of one class.
In both the negative of a pair is semi-hard: the nearest one of those farther than the pair; where there is none, the farthest.
The mean is over triplets within the margin, as in the code of Sun et al.
Differs from the papers: the embedding is a linear layer on the features, thrown away afterwards; batches are small; AdamW. Of
Sun et al. the embeddings are points, not distributions, and images of one class take the place of views of one pose.

Letters in shape comments: B images, W width of an embedding, M pairs of one class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....core.options import parameter
from ....core.ranges import LARGEST_SIZE
from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, Recipe
from .projection import full_precision, gathered, linear

MARGINS = {"distance": 0.2, "matching": math.log(2)}  # FaceNet's, and that of Sun et al.
RAW_A, B = -0.65, -0.5  # initial values in the code of Sun et al.; a is elu(raw a) + 1
SMALLEST = 1e-12  # squared distance of which the root is taken: at 0 it has no gradient


@dataclass(frozen=True)
class Triplet(Recipe):
    """Bring images of one class nearer to each other than to those of other classes."""

    measure: Literal["distance", "matching"] = parameter(
        "distance", "what triplets compare: squared distances, or -log of the probability of a match, sigmoid(b - a·d)"
    )
    margin: float | None = parameter(None, "between the two; none is 0.2 for distances and log 2 for matches", minimum=0)
    positives: float = parameter(0.005, "weight of -log of the probability that images of one class match", minimum=0)
    width: int = parameter(128, "of the embedding", minimum=1, maximum=LARGEST_SIZE)
    group: int = parameter(4, "images of one class that a batch takes together", minimum=2, maximum=LARGEST_SIZE)

    citation: ClassVar[str] = "Schroff et al. 2015, FaceNet, arXiv:1503.03832; Sun et al. 2020, arXiv:1912.01001"
    shifts: ClassVar[bool] = True

    def learner(self, material: Material) -> Learner:
        """Backbone and a linear embedding."""
        return TripletLearner(self, material)


class TripletLearner(ImageLearner):
    """Batches are images [B, C, H, W], a group of each class together, and labels [B]."""

    def __init__(self, recipe: Triplet, material: Material) -> None:
        """Put an embedding on the backbone."""
        super().__init__(material)
        self.images = material.images.in_groups(recipe.group)
        self.recipe = recipe
        self.margin = MARGINS[recipe.measure] if recipe.margin is None else recipe.margin
        self.head = linear(material.width, recipe.width, material.generator)
        if recipe.measure == "matching":
            self.raw_a, self.b = nn.Parameter(torch.tensor(RAW_A)), nn.Parameter(torch.tensor(B))

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Shifted images and their labels."""
        return self.shifted(step, part)[:2]

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the images of all processes, and the share of the triplets within the margin."""
        images, labels = batch
        z = self.head(self.backbone(images))
        with full_precision(z):
            z, labels = gathered(z.float()), gathered(labels)
            if self.recipe.measure == "distance":
                costs = squared_distances(functional.normalize(z, dim=1))
            else:
                costs = mismatch(squared_distances(z), functional.elu(self.raw_a) + 1, self.b)
            positive, negative = semi_hard(costs, labels)
            hinge = (self.margin + positive - negative).clamp(min=0)
            within = hinge > 0
            loss = hinge.sum() / within.sum().clamp(min=1)
            if self.recipe.measure == "matching":
                loss = loss + self.recipe.positives * positive.sum() / max(1, len(positive))
            return loss, {"within_margin": within.sum() / max(1, len(hinge))}


def squared_distances(z: Tensor) -> Tensor:
    """Squared Euclidean distances of all pairs of [B, W]: [B, B]."""
    return (z[:, None] - z[None]).square().sum(dim=2)


def mismatch(squared: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """-log sigmoid(b - a·d) of squared distances d² [B, B]."""
    return functional.softplus(a * squared.clamp(min=SMALLEST).sqrt() - b)


def semi_hard(costs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The costs of all pairs of one class, and of the negative of each.

    Args:
        costs: of all pairs, [B, B]; lower is nearer.
        labels: int64 [B].

    Returns:
        Two [M]: of an image and another one of its class, and of that image and its semi-hard negative. Images of a batch of
        one class alone are in no pair.
    """
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchor, partner = (same & ~itself & ~same.all(dim=1, keepdim=True)).nonzero(as_tuple=True)
    positive, others, own = costs[anchor, partner], costs[anchor], same[anchor]  # [M], [M, B], [M, B]
    farther = others.masked_fill(own | (others <= positive[:, None]), torch.inf).amin(dim=1)
    farthest = others.masked_fill(own, -torch.inf).amax(dim=1)
    return positive, torch.where(farther.isinf(), farthest, farther)
