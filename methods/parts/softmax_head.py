"""The training loop of Baseline and Baseline++: a classifier fitted to each support set by SGD, all episodes at once.

Chen, Liu, Kira, Wang and Huang 2019, "A closer look at few-shot classification", arXiv:1904.04232. The optimiser's settings
are those of the authors' released code. Its update, with gradient g, weight decay λ, momentum μ, dampening τ, learning rate η:

    v ← μ·v + (1 − τ)·(g + λ·w)      (the first step takes v ← g + λ·w, as torch.optim.SGD does)
    w ← w − η·v

Letters in shape comments: E episodes, N ways, S support rows, B rows of a mini-batch, D feature width, R coordinates of a row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Episodes, Method, parameter
from .random_numbers import shuffled, uniform

WEIGHTS, BIAS, FIRST_EPOCH = 0, 1, 2  # streams of an episode's random numbers


@dataclass(frozen=True)
class MiniBatch:
    """One mini-batch of each of E episodes.

    Attributes:
        rows: [E, B, R], support rows.
        columns: [E, R, B], the rows transposed in memory, since products with transposed small matrices are slow.
        targets: [E, N, B], one-hot labels.
        shares: [E, 1, B], weight of each row's loss: one over the episode's rows in the mini-batch, 0 where a place is padding.
        absent: [E, N, 1], −∞ where an episode has fewer classes, else 0.
        width: D, of the features that the rows stand for.
    """

    rows: Tensor
    columns: Tensor
    targets: Tensor
    shares: Tensor
    absent: Tensor
    width: int


@dataclass(frozen=True)
class SoftmaxHead(Method):
    """A classifier trained on the support by mini-batch SGD on the softmax cross-entropy."""

    learning_rate: float = parameter(0.01, "learning rate", above=0)
    momentum: float = parameter(0.9, "momentum", minimum=0, below=1)
    dampening: float = parameter(0.9, "dampening of the momentum", minimum=0, maximum=1)
    weight_decay: float = parameter(0.001, "weight decay", minimum=0)
    epochs: int = parameter(100, "passes over the support", minimum=0)
    batch_size: int = parameter(4, "support images a step", minimum=1)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The support, which every epoch goes through; queries are scored once."""
        return 4 * support * width

    @abstractmethod
    def gradient(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """Gradient of the mean cross-entropy over a mini-batch with respect to `weights`, as a new tensor of their shape."""

    def train(self, weights: Tensor, rows: Tensor, episodes: Episodes) -> Tensor:
        """Move `weights` [E, N, …] on mini-batches of the support as rows [E, S, R], and return the new weights."""
        # Episodes with most support come first, so that the episodes with a mini-batch left in an epoch are a slice.
        sizes, by_size = (episodes.support_labels >= 0).sum(dim=1).sort(descending=True, stable=True)
        weights = weights[by_size]
        move = self.mover(weights, sizes)
        for batch in self._mini_batches(rows, sizes, by_size, episodes):
            move(self.gradient(weights[: len(batch.rows)], batch))
        return weights[by_size.argsort()]

    def mover(self, weights: Tensor, sizes: Tensor) -> Callable[[Tensor], None]:
        """The optimiser, which moves `weights` in place, given the gradient of the first episodes; it is SGD.

        Args:
            weights: [E, N, …].
            sizes: support sizes of the episodes, largest first.
        """
        velocity = torch.zeros_like(weights)
        kept, added = 0.0, 1.0

        def move(gradient: Tensor) -> None:
            nonlocal kept, added
            live_weights, live_velocity = weights[: len(gradient)], velocity[: len(gradient)]
            live_velocity.mul_(kept).add_(gradient.add_(live_weights, alpha=self.weight_decay), alpha=added)
            live_weights.add_(live_velocity, alpha=-self.learning_rate)
            kept, added = self.momentum, 1 - self.dampening

        return move

    def _mini_batches(self, rows: Tensor, sizes: Tensor, by_size: Tensor, episodes: Episodes) -> Iterator[MiniBatch]:
        """Yield the mini-batches of all epochs. In each epoch an episode's support is in a new random order."""
        count, places, width = rows.shape
        features = episodes.support.shape[-1]
        labels, seeds = episodes.support_labels[by_size], episodes.seeds[by_size]  # [E, S], [E]
        absent = torch.zeros_like(episodes.class_mask, dtype=rows.dtype).masked_fill(~episodes.class_mask, -torch.inf)
        absent = absent[by_size][..., None]  # [E, N, 1]
        classes = torch.arange(episodes.ways, device=rows.device)[:, None]  # [N, 1]
        table, first_row = rows.reshape(count * places, width), by_size[:, None] * places
        shares, size = self._shares(sizes, rows.dtype), self.batch_size
        for epoch in range(self.epochs):
            order = shuffled(seeds, FIRST_EPOCH + epoch, labels >= 0)[:, : int(sizes[0])]  # [E, largest support]
            shuffled_rows = table.index_select(0, (first_row + order).view(-1)).view(*order.shape, width)
            columns = shuffled_rows.transpose(1, 2).contiguous()
            targets = (labels.gather(1, order)[:, None] == classes).to(rows.dtype)  # [E, N, largest support]
            parts = zip(shuffled_rows.split(size, 1), columns.split(size, 2), targets.split(size, 2), shares, strict=True)
            for batch_rows, batch_columns, batch_targets, share in parts:
                live = len(share)
                yield MiniBatch(batch_rows[:live], batch_columns[:live], batch_targets[:live], share, absent[:live], features)

    def _shares(self, sizes: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Shares [live, 1, B] of each mini-batch of an epoch, given the support sizes of the episodes, largest first."""
        shares = []
        for places in torch.arange(int(sizes[0]), device=sizes.device).split(self.batch_size):
            live_sizes = sizes[sizes > places[0]][:, None, None]  # [live, 1, 1]
            rows = (live_sizes - places[0]).clamp(max=self.batch_size)
            shares.append((places < live_sizes).to(dtype) / rows)
        return shares


def initial_weights(episodes: Episodes, stream: int, width: int, fan_in: int) -> Tensor:
    """Draw weights [E, N, width] as torch.nn.Linear does, uniform in ±1/√fan_in; a class's weights do not depend on N."""
    drawn = uniform(episodes.seeds, stream, episodes.ways * width).view(len(episodes), episodes.ways, width)
    return ((2 * drawn - 1) * fan_in**-0.5).to(episodes.support.dtype)


@dataclass(frozen=True)
class SupportSpan:
    """Support features and initial weights in R = min(S, D) + 1 reduced coordinates.

    Dot products of weights with support features, and of a class's weights with themselves, are those of the originals.

    Attributes:
        support: [E, S, R]; the last coordinate is 0.
        weights: [E, N, R]; the last coordinate is the length of the part outside the span.
        basis: [E, D, R − 1], orthonormal columns that span the support.
        outside: [E, N, D], for each class the unit direction of its last coordinate.
    """

    support: Tensor
    weights: Tensor
    basis: Tensor
    outside: Tensor

    @classmethod
    def of(cls, support: Tensor, weights: Tensor) -> SupportSpan:
        """Reduce support features [E, S, D] and initial weights [E, N, D]."""
        basis, triangle = torch.linalg.qr(support.transpose(1, 2))  # [E, D, R − 1], [E, R − 1, S]; product: supportᵀ
        inside = torch.bmm(weights, basis)  # [E, N, R − 1]
        outside = torch.baddbmm(weights, inside, basis.transpose(1, 2), alpha=-1)  # [E, N, D]
        length = torch.linalg.vector_norm(outside, dim=-1, keepdim=True)  # [E, N, 1]
        return cls(
            support=torch.nn.functional.pad(triangle.transpose(1, 2), (0, 1)),
            weights=torch.cat([inside, length], dim=-1),
            basis=basis,
            outside=outside / length.clamp(min=torch.finfo(length.dtype).tiny),
        )

    def expanded(self, weights: Tensor) -> Tensor:
        """Turn trained weights [E, N, R] back into the D original coordinates: [E, N, D]."""
        return torch.baddbmm(self.outside * weights[..., -1:], weights[..., :-1], self.basis.transpose(1, 2))
