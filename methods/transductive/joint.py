"""Support and queries of an episode as one set of rows, for methods that use the queries together.

A padded row is zeros here and belongs to no class, so that no sum over the rows sees the padding.

Letters in shape comments: E episodes, N ways, S support rows, Q query rows, F = S + Q rows, D feature width. Assignments and
scores are [E, N, F], classes first: batched products with few rows and many columns are the fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Episodes, one_hot
from ..parts.similarity import SMALLEST_NORM

ABSENT = -1e30  # added to the scores of a class that an episode does not have: probability 0, and finite products with 0


@dataclass(frozen=True)
class Joint:
    """The rows of E episodes, support first.

    Attributes:
        rows: [E, F, D].
        labels: [E, N, S], one-hot.
        present: [E, 1, Q], 1 for a query and 0 for padding.
        absent: [E, N, 1], 0 or `ABSENT`.
    """

    rows: Tensor
    labels: Tensor
    present: Tensor
    absent: Tensor

    @classmethod
    def of(cls, episodes: Episodes, normalised: bool = True) -> Joint:
        """The rows of episodes.

        Args:
            episodes: with features.
            normalised: scale every feature to length 1.
        """
        support, query = cleared(episodes)
        rows = torch.cat([support, query], dim=1)
        if normalised:  # in place: the rows are what such a method spends its time on
            rows /= torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_(min=SMALLEST_NORM)
        return cls(
            rows=rows,
            labels=one_hot(episodes.support_labels, episodes.ways, rows.dtype).transpose(1, 2).contiguous(),
            present=queries_present(episodes)[:, None],
            absent=torch.zeros_like(episodes.class_mask, dtype=rows.dtype).masked_fill(~episodes.class_mask, ABSENT)[..., None],
        )

    @property
    def shots(self) -> int:
        """S, the number of support rows, padding included."""
        return self.labels.shape[2]

    @property
    def support(self) -> Tensor:
        """[E, S, D]."""
        return self.rows[:, : self.shots]

    @property
    def query(self) -> Tensor:
        """[E, Q, D]."""
        return self.rows[:, self.shots :]

    @property
    def support_count(self) -> Tensor:
        """Number of support images, [E, 1, 1]."""
        return self.labels.sum(dim=(1, 2))[:, None, None]

    @property
    def query_count(self) -> Tensor:
        """Number of queries, [E, 1, 1], at least 1."""
        return self.present.sum(dim=2, keepdim=True).clamp(min=1)

    def with_queries(self, probabilities: Tensor) -> Tensor:
        """The labels of the support beside assignments [E, N, Q] of the queries: [E, N, F], zeros for padding."""
        return torch.cat([self.labels, probabilities * self.present], dim=2)

    def starts(self) -> Tensor:
        """Weights [E, N, F] with which the rows make the mean support feature of each class."""
        return self.averaging(self.with_queries(self.labels.new_zeros(*self.labels.shape[:2], self.present.shape[2])))

    @staticmethod
    def averaging(assignments: Tensor) -> Tensor:
        """Weights [E, N, F] of means from assignments; zeros for a class without any."""
        total = assignments.sum(dim=2, keepdim=True)
        return assignments / total.where(total > 0, 1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Softmax of scores [E, N, …] over the classes that the episode has."""
        return (scores + self.absent).softmax(dim=1)

    def gram(self) -> Tensor:
        """Dot products of all rows, [E, F, F]."""
        return torch.bmm(self.rows, self.rows.transpose(1, 2))


def nearness(weights: Tensor, gram: Tensor) -> Tensor:
    """w·z − ½‖w‖² of points w = Σ weights·rows with every row z, from the dot products of the rows.

    It is half the negative squared distance, up to a number for each row.

    Args:
        weights: [E, N, F].
        gram: [E, F, F].

    Returns:
        [E, N, F].
    """
    products = torch.bmm(weights, gram)
    return products - (weights * products).sum(dim=2, keepdim=True) / 2


def cleared(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Support [E, S, D] and queries [E, Q, D], with zeros in padded places."""
    support = episodes.support.masked_fill((episodes.support_labels < 0)[..., None], 0)
    if episodes.query_mask is None:
        return support, episodes.query
    return support, episodes.query.masked_fill(~episodes.query_mask[..., None], 0)


def queries_present(episodes: Episodes) -> Tensor:
    """1 for a query and 0 for padding, [E, Q]."""
    if episodes.query_mask is None:
        return episodes.query.new_ones(episodes.query.shape[:2])
    return episodes.query_mask.to(episodes.query.dtype)
