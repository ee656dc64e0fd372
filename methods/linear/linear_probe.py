"""Linear probe: logistic regression on the features of the support.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv:2103.00020 (appendix A.3),
and earlier work: a softmax classifier with an L2 penalty is fitted to frozen features by L-BFGS, and the strength of the
penalty is chosen on validation data. With features x and labels y of the support, weights W and intercepts b minimise the
objective of scikit-learn's LogisticRegression:

    C · Σ cross-entropy(W·x + b, y) + ½ · ‖W‖²

The weights of a class are a combination of the support features, centred since the intercept is not penalised. The search
therefore only uses the directions that these span, their principal components: 5 coordinates, not 512, for 5 images with 512
features. Where C is chosen, the search for each candidate starts from the solution for the one before.

For two classes scikit-learn fits a single vector, w₁ − w₀, whose penalty is twice that of the two vectors here. C is therefore
halved for episodes of two ways; the difference of their two scores is scikit-learn's decision value.

Differs from the paper: Newton's method finds the minimum where the support is small. There are 7 candidates of C instead of 96
between the same ends, 10⁻⁶ and 10⁶ (Zhou et al. 2022, arXiv:2109.01134, begin their search with these 7), and one C for all
episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ..base import Episodes, Method, one_hot, parameter
from ..parts.logistic.problems import LogisticProblems
from ..parts.logistic.solver import solve

# Bound of the error in a support image's score: the objective is convex enough for ‖W − best W‖ ≤ ‖gradient‖.
TOLERANCE = 3e-4
PIECE = 2**19  # bytes of features, which stay in a processor's cache while an episode is worked on
LARGE = 64  # support images; from there on, episodes of unequal size are fitted one by one, since padding costs more than calls


@dataclass(frozen=True)
class LinearProbe(Method):
    """Linear probe: L2-penalised logistic regression on the support features (Radford et al. 2021)."""

    version: ClassVar[str] = "2"
    citation: ClassVar[str] = "Radford et al. 2021, arXiv:2103.00020"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"C": (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)}

    C: float | Literal["auto"] = parameter(
        "auto",
        "weight of the cross-entropies relative to the penalty, as in scikit-learn; auto chooses on validation episodes",
        above=0,
    )
    normalised: bool = parameter(False, "scale every feature to length 1 first")

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The support; its products are fewer numbers, and queries are scored once."""
        return 4 * support * width

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logit."""
        return next(self.classify_each(episodes, [self]))

    def classify_each(self, episodes: Episodes, candidates: Sequence[Method]) -> Iterator[Tensor]:
        """Score the queries by each candidate's logits; the candidates differ in C alone."""
        parts = [(part, self._fits(episodes, part)) for part in _parts(episodes)]
        for candidate in candidates:
            assert isinstance(candidate, LinearProbe) and not isinstance(candidate.C, str)
            scores = episodes.query.new_zeros(*episodes.query.shape[:2], episodes.ways)  # [E, Q, N]
            for part, fits in parts:
                found = fits.scores(candidate.C)
                scores[part, : found.shape[1], : found.shape[2]] = found
            # What stands for an absent class or in a padded place must not depend on the other episodes.
            scores = scores.masked_fill(~episodes.class_mask[:, None], 0)
            there = episodes.query_mask
            yield scores if there is None else scores.masked_fill(~there[..., None], 0)

    def _fits(self, episodes: Episodes, part: slice) -> _Fits:
        """The fits of some of the episodes, without columns that are padding in all of them."""
        mask, query, queries = episodes.class_mask[part], episodes.query[part], episodes.query_mask
        labels = one_hot(episodes.support_labels[part], _used(mask), torch.float64)  # [E, S, N]
        labels = labels[:, : _used(labels.any(dim=2))]
        query = query if queries is None else query[:, : _used(queries[part])]
        present = labels.sum(dim=2, keepdim=True)  # [E, S, 1], 0 where a place is padding
        support = episodes.support[part, : labels.shape[1]]
        if not present.all():
            support = support.masked_fill(present == 0, 0)
        return _Fits(self._scaled(support), labels, present, mask[:, : labels.shape[2]], self._scaled(query))

    def _scaled(self, features: Tensor) -> Tensor:
        return normalize(features, dim=-1) if self.normalised else features


class _Fits:
    """The fits of E episodes, for any C.

    Features are centred, multiplied and left again a few episodes at a time, which the processor's cache holds.

    Args:
        support: [E, S, D]; zeros where a place is padding.
        labels: float64 [E, S, N], one-hot; zeros where a place is padding.
        present: [E, S, 1], 0 where a place is padding, else 1.
        class_mask: bool [E, N].
        query: [E, Q, D].
    """

    def __init__(self, support: Tensor, labels: Tensor, present: Tensor, class_mask: Tensor, query: Tensor) -> None:
        self.support, self.present, self.query = support, present, query
        self.pieces = _pieces(support, query)
        totals = torch.cat([support[part].double().sum(dim=1, keepdim=True) for part in self.pieces])
        self.mean = totals / present.sum(dim=1, keepdim=True)  # [E, 1, D]
        self.rounded = self.mean.to(query.dtype)  # queries far from 0 lose digits of their scores, unless they are centred
        self.spanned = support.shape[1] <= support.shape[2]
        self.rows, self.directions = self._principal()
        self.radius = torch.linalg.vector_norm(self.rows, dim=2).amax(dim=1)  # [E]
        self.ways, self.count = class_mask.sum(dim=1), present.sum(dim=(1, 2))  # [E], [E]
        self.targets = labels.transpose(1, 2).contiguous()  # [E, N, S]
        left_out = (self.targets > 0) | (present.transpose(1, 2) == 0) | ~class_mask[..., None]
        self.left_out = torch.zeros_like(self.targets).masked_fill(left_out, -torch.inf)
        self.solution: Tensor | None = None  # [E, N, R + 1], of the last fit, its last coordinate the intercept

    def scores(self, cost: float) -> Tensor:
        """The logits at a C, [E, Q, N]. The search starts from the solution of the last fit."""
        costs = cost * torch.where(self.ways == 2, 0.5, 1.0).double()  # [E]
        # Coordinate of the intercept: large enough to make the objective about as convex in its weight as in the others.
        unit = torch.maximum(self.radius, (self.ways / (costs * self.count)).sqrt())[:, None, None]  # [E, 1, 1]
        problems = LogisticProblems(
            rows=torch.cat([self.rows, unit * self.present], dim=2),
            targets=self.targets,
            left_out=self.left_out,
            costs=costs,
            penalties=pad(self.rows.new_ones(self.rows.shape[2]), (0, 1)),
            tolerances=TOLERANCE / unit[:, 0, 0],
        )
        found = solve(problems, None if self.solution is None else _scaled_last(self.solution, 1 / unit))
        self.solution = _scaled_last(found, unit)
        return self._logits(torch.bmm(found[..., :-1], self.directions), self.solution[..., -1:])

    def _logits(self, turned: Tensor, intercepts: Tensor) -> Tensor:
        """The queries' logits [E, Q, N] by weights [E, N, D], or by those of the support images [E, N, S] that make them."""
        logits = self.query.new_empty(len(turned), turned.shape[1], self.query.shape[1])  # [E, N, Q]
        for part in self.pieces:
            weights = torch.bmm(turned[part], self._centred(part)) if self.spanned else turned[part]  # [e, N, D]
            rest = (self.rounded[part] - self.mean[part]).transpose(1, 2)  # [e, D, 1]
            constant = (intercepts[part] + torch.bmm(weights, rest)).to(logits.dtype)  # [e, N, 1]
            query = (self.query[part] - self.rounded[part]).transpose(1, 2)
            torch.baddbmm(constant, weights.to(logits.dtype), query, out=logits[part])
        return logits.transpose(1, 2)

    def _centred(self, part: slice) -> Tensor:
        """The support less its mean, float64 [e, S, D], with zeros where a place is padding."""
        return self.support[part].double().sub_(self.mean[part]).mul_(self.present[part])

    def _principal(self) -> tuple[Tensor, Tensor]:
        """Express the centred support by its principal components.

        Returns:
            Coordinates [E, S, R] with R = min(S, D); and what turns weights of these into weights of support images,
            [E, R, S], or of features, [E, R, D], whichever are fewer.
        """
        count, places, width = self.support.shape
        products = self.mean.new_empty(count, *2 * (min(places, width),))
        for part in self.pieces:
            rows = self._centred(part)
            other = rows.transpose(1, 2)
            torch.bmm(*((rows, other) if self.spanned else (other, rows)), out=products[part])
        squares, vectors = torch.linalg.eigh(products)  # [E, R], [E, R, R]
        if not self.spanned:
            return torch.cat([torch.bmm(self._centred(part), vectors[part]) for part in self.pieces]), vectors.mT
        none = squares <= squares[:, -1:] * (places * torch.finfo(squares.dtype).eps)  # rounding errors of 0
        lengths = squares.masked_fill(none, 0).sqrt()[:, None]  # [E, 1, R]
        return vectors * lengths, (vectors * (1 / lengths).masked_fill(none[:, None], 0)).mT


def _scaled_last(solution: Tensor, factor: Tensor) -> Tensor:
    """A solution [E, N, R] with its last coordinate times a factor [E, 1, 1]."""
    return torch.cat([solution[..., :-1], solution[..., -1:] * factor], dim=2)


def _pieces(support: Tensor, query: Tensor) -> list[slice]:
    """Parts of the episodes that take about `PIECE` bytes each; on a GPU, all as one."""
    size = max(support[0].numel() * 8, query[0].numel() * query.element_size(), 1)
    step = max(1, PIECE // size) if support.device.type == "cpu" else len(support)
    return [slice(start, start + step) for start in range(0, len(support), step)]


def _parts(episodes: Episodes) -> list[slice]:
    """All episodes as one part; or one by one, where they are large and of unequal size."""
    count, places = episodes.support_labels.shape
    if places < LARGE or (episodes.class_mask.all() and (episodes.support_labels >= 0).all()):
        return [slice(count)]
    return [slice(i, i + 1) for i in range(count)]


def _used(there: Tensor) -> int:
    """The number of columns of [E, n] before those that are False throughout."""
    used = there.any(dim=0).nonzero()
    return int(used[-1]) + 1 if len(used) else 0
