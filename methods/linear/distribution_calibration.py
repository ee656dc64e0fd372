"""Distribution calibration: a linear classifier on features drawn around the support, with statistics of the train classes.

Yang, Liu and Xu 2021, "Free lunch for few-shot learning: distribution calibration", arXiv:2101.06395.

Features of a class are taken as normally distributed, and near classes as alike in mean and covariance. Support and queries are
transformed by Tukey's ladder of powers, x to the power of λ. For a support image x the k train classes are found whose mean
features (not transformed) are nearest. Its distribution has

    mean          (x + Σ means of these classes) / (k + 1)
    covariance    (Σ covariances of these classes) / k + α,     α being added to every entry

From it as many features are drawn as give `samples` for each class. A logistic regression with the penalty of scikit-learn is
fitted to the support and all of these.

No covariance is stored: with the n features of a train class around their mean as the rows of X, Xᵀz/√(n − 1) has the class's
covariance for standard normal z, and is as exact. α stands for a number that all coordinates of a feature share.

Differs from the released code: a negative coordinate keeps its sign in the power, since not all networks end in a ReLU, and the
penalty of two ways is that of two weight vectors, where scikit-learn fits their difference.

Letters in shape comments: E episodes, N ways, S support rows, Q queries, D feature width, C train classes, R rows of a factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from ...core.errors import UserError
from ...tasks.episodes import TrainClasses
from ..base import Episodes, Method, one_hot, parameter
from ..parts.logistic.problems import LogisticProblems
from ..parts.logistic.solver import solve

TOLERANCE = 1e-3  # of the gradient's length, for each row of the fit; scikit-learn's default is 1e-4 for the largest coordinate


@dataclass(frozen=True)
class DistributionCalibration(Method):
    """Distribution calibration: logistic regression on features drawn around the support (Yang, Liu and Xu 2021)."""

    uses_train_classes: ClassVar[bool] = True
    citation: ClassVar[str] = "Yang, Liu and Xu 2021, arXiv:2101.06395"

    neighbours: int = parameter(2, "k, train classes that lend their statistics to a support image", minimum=1)
    spread: float = parameter(0.21, "alpha, added to every entry of a covariance", minimum=0)
    samples: int = parameter(750, "features drawn for each class of an episode", minimum=1)
    power: float = parameter(0.5, "lambda, exponent of Tukey's transform", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logit.

        Raises:
            UserError: the episodes come without train classes.
        """
        train = episodes.train_classes
        if train is None:
            raise UserError("distribution-calibration needs the features of the train classes")
        scores = episodes.query.new_zeros(*episodes.query.shape[:2], episodes.ways)  # [E, Q, N]
        # One episode after another: each has thousands of drawn features.
        for place, (labels, mask) in enumerate(zip(episodes.support_labels, episodes.class_mask, strict=True)):
            there, ways = labels >= 0, mask.nonzero()[:, 0]
            generator = Generator().manual_seed(int(episodes.seeds[place]))  # of the CPU: the same numbers on every device
            rows, targets = self._drawn(self._powered(episodes.support[place, there]), labels[there], train, generator)
            weights, intercepts = fitted(rows, torch.searchsorted(ways, targets), len(ways))
            query = self._powered(episodes.query[place]).double()
            scores[place, :, ways] = (query @ weights.T + intercepts).to(scores.dtype)
        return scores

    def _powered(self, rows: Tensor) -> Tensor:
        return rows.sign() * rows.abs().pow(self.power)

    def _drawn(self, support: Tensor, labels: Tensor, train: TrainClasses, generator: Generator) -> tuple[Tensor, Tensor]:
        """The support [S, D] and the features drawn around it, with their labels."""
        rows, counts = [support], labels.bincount().tolist()
        drawn = [self.samples // counts[label] for label in labels.tolist()]
        for row, count in zip(support, drawn, strict=True):
            rows.append(calibrated(row, train, self.neighbours, self.spread).draw(count, generator))
        repeats = torch.tensor(drawn, device=labels.device)
        return torch.cat(rows), torch.cat([labels, labels.repeat_interleave(repeats)])


class Calibrated(NamedTuple):
    """A normal distribution with mean [D] and covariance factorᵀ · factor, factor [R, D]."""

    mean: Tensor
    factor: Tensor

    def draw(self, count: int, generator: Generator) -> Tensor:
        """Draw features, [count, D]."""
        shape, like = (count, len(self.factor)), self.factor
        normal = torch.randn(shape, generator=generator, dtype=like.dtype)
        return torch.addmm(self.mean, normal.to(like.device), self.factor)


def calibrated(row: Tensor, train: TrainClasses, neighbours: int, spread: float) -> Calibrated:
    """The distribution of a support image's class.

    Args:
        row: transformed feature [D].
        train: the train classes.
        neighbours: k; at most all train classes.
        spread: α.
    """
    distances = (train.means - row).square().sum(dim=1)  # [C]
    nearest = distances.topk(min(neighbours, len(distances)), largest=False).indices
    mean = (row + train.means[nearest].sum(dim=0)) / (len(nearest) + 1)
    factors = [torch.full_like(row[None], spread**0.5)]
    for number, centre in zip(nearest.tolist(), train.means[nearest], strict=True):
        features = train.features_of(number).to(row.dtype)  # [n, D]
        scale = (len(nearest) * max(1, len(features) - 1)) ** -0.5
        factors.append((features - centre.to(row.dtype)) * scale)
    return Calibrated(mean.to(row.dtype), torch.cat(factors))


def fitted(rows: Tensor, labels: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """Weights [N, D] and intercepts [N] that minimise Σ cross-entropy + ½ · ‖weights‖² over rows [S, D] with labels [S]."""
    rows, targets = rows.double(), one_hot(labels, ways, torch.float64).T[None].contiguous()  # [1, N, S]
    mean = rows.mean(dim=0)  # the intercept has no penalty, so that centred rows have the same weights
    centred = torch.cat([rows - mean, rows.new_ones(len(rows), 1)], dim=1)
    penalties = rows.new_ones(centred.shape[1])
    penalties[-1] = 0
    problem = LogisticProblems(
        rows=centred[None],
        targets=targets,
        left_out=torch.zeros_like(targets).masked_fill(targets > 0, -torch.inf),
        costs=rows.new_ones(1),
        penalties=penalties,
        tolerances=rows.new_tensor([TOLERANCE * len(rows)]),
    )
    found = solve(problem, few=0)[0]
    return found[:, :-1], found[:, -1] - found[:, :-1] @ mean
