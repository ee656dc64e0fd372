"""Distribution calibration: a linear classifier on features drawn around the support, with statistics of the train classes.

Yang, Liu and Xu 2021, "Free lunch for few-shot learning: distribution calibration", arXiv:2101.06395.

Features of a class are taken as normally distributed, and near classes as alike in mean and covariance. Support and queries are
transformed by Tukey's ladder of powers, x to the power of λ. For a support image x the k train classes are found whose mean
features (not transformed) are nearest. Its distribution has

    mean          (x + Σ means of these classes) / (k + 1)
    covariance    (Σ covariances of these classes) / k + α,     α being added to every entry

From it as many features are drawn as give `samples` for each class. A logistic regression with the penalty of scikit-learn is
fitted to the support and all of these.

A drawn feature is the mean, plus Fᵀz/√k for each of the k classes, whose covariance is FᵀF, plus √α·z that all coordinates
share; the z are standard normal numbers. The factors F are triangular, and computed once for each train class.

With 5 ways, k = 2 and 640 coordinates an episode takes 4.5 million normal numbers and 3.6 Gflop of products to draw. Each step
of the fit takes 2 products of 24 Mflop, which read 10 MB each: 11 steps with one shot of made-up features, 26 with five. On a
thread whose large products run at 103 Gflop/s this takes 92 to 105 and 132 to 147 ms: products run at 39 to 44 and at 32 to
36 % of that rate. With all features of a class as its factor, and a fit in float64, it took 187 and 330 ms.

Differs from the released code: a negative coordinate keeps its sign in the power, since not all networks end in a ReLU, and the
penalty of two ways is that of two weight vectors, where scikit-learn fits their difference.

Letters in shape comments: E episodes, N ways, S rows of a fit, Q queries, D feature width, C train classes, R rows of a factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from ...core.errors import UserError
from ...tasks.episodes import TrainClasses
from ..base import Episodes, Method, one_hot, parameter
from ..parts.class_factors import add_product, factor_of
from ..parts.logistic.problems import LogisticProblems
from ..parts.logistic.solver import solve

TOLERANCE = 1e-3  # of the gradient's length, for each row of the fit; scikit-learn's default is 1e-4 for the largest coordinate
TOGETHER = 2**23  # bytes of rows that are fitted at once: several small episodes in one call, and large ones within a cache


@dataclass(frozen=True)
class DistributionCalibration(Method):
    """Distribution calibration: logistic regression on features drawn around the support (Yang, Liu and Xu 2021)."""

    version: ClassVar[str] = "2"
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
        support, query = self._powered(episodes.support), self._powered(episodes.query)
        scores = query.new_zeros(*query.shape[:2], episodes.ways)  # [E, Q, N]
        # Episodes of the same shape are fitted together as far as a cache holds their rows; others one by one.
        row_bytes = 4 * (self.samples * episodes.ways + support.shape[1]) * support.shape[2]
        step = 1 if episodes.padded else max(1, TOGETHER // row_bytes)
        for start in range(0, len(support), step):
            part = slice(start, start + step)
            ways = episodes.class_mask[start].nonzero()[:, 0]
            fits = []
            for row, labels, seed in zip(support[part], episodes.support_labels[part], episodes.seeds[part], strict=True):
                generator = Generator().manual_seed(int(seed))  # of the CPU: the same numbers on every device
                fits.append(self._drawn(row[labels >= 0], labels[labels >= 0], train, generator))
            rows, targets = (torch.stack(parts) for parts in zip(*fits, strict=True))
            weights, intercepts = fitted(rows, torch.searchsorted(ways, targets), len(ways))
            scores[part, :, ways] = torch.baddbmm(intercepts[:, None], query[part], weights.transpose(1, 2))
        return scores

    def _powered(self, rows: Tensor) -> Tensor:
        return rows.sign() * rows.abs().pow(self.power)

    def _drawn(self, support: Tensor, labels: Tensor, train: TrainClasses, generator: Generator) -> tuple[Tensor, Tensor]:
        """The support [S, D] and the features drawn around it, with their labels."""
        counts = labels.bincount()
        each = self.samples // counts[labels]  # [S]
        rows, start = support.new_empty(len(support) + int(each.sum()), support.shape[1]), len(support)
        rows[:start] = support
        for row, count in zip(support, each.tolist(), strict=True):
            calibrated(row, train, self.neighbours, self.spread).draw(rows[start : start + count], generator)
            start += count
        return rows, torch.cat([labels, labels.repeat_interleave(each)])


class Calibrated(NamedTuple):
    """A normal distribution with mean [D] and covariance Σ factorᵀ · factor / k + spread, of k factors [R, D]."""

    mean: Tensor
    factors: list[Tensor]
    spread: float

    def draw(self, rows: Tensor, generator: Generator) -> None:
        """Fill rows [S, D] with drawn features."""
        widths = [len(factor) for factor in self.factors]
        normal = torch.randn(len(rows), 1 + sum(widths), generator=generator, dtype=rows.dtype).to(rows.device)
        rows.copy_(torch.add(self.mean, normal[:, :1], alpha=self.spread**0.5))
        for numbers, factor in zip(normal[:, 1:].split(widths, dim=1), self.factors, strict=True):
            add_product(rows, numbers, factor, len(widths) ** -0.5)


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
    return Calibrated(mean.to(row.dtype), [factor_of(train, number, row.dtype) for number in nearest.tolist()], spread)


def fitted(rows: Tensor, labels: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """Fit a classifier to rows [E, S, D] with labels [E, S]: at the least Σ cross-entropy + ½ · ‖weights‖².

    Returns:
        Weights [E, N, D] and intercepts [E, N].
    """
    targets = one_hot(labels, ways, rows.dtype).transpose(1, 2).contiguous()  # [E, N, S]
    mean = rows.mean(dim=1, keepdim=True)  # the intercept has no penalty, so that centred rows have the same weights
    centred = rows.new_ones(*rows.shape[:2], rows.shape[2] + 1)
    torch.sub(rows, mean, out=centred[..., :-1])
    penalties = rows.new_ones(centred.shape[2])
    penalties[-1] = 0
    problems = LogisticProblems(
        rows=centred,
        targets=targets,
        left_out=torch.zeros_like(targets).masked_fill(targets > 0, -torch.inf),
        costs=rows.new_ones(len(rows)),
        penalties=penalties,
        tolerances=rows.new_full((len(rows),), TOLERANCE * rows.shape[1]),
    )
    found = solve(problems, few=0)
    return found[..., :-1], found[..., -1] - (found[..., :-1] @ mean.transpose(1, 2))[..., 0]
