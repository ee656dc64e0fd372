"""Search directions of limited-memory BFGS for many logistic regressions at once.

Nocedal 1980, "Updating quasi-Newton matrices with limited storage"; Liu and Nocedal 1989, "On the limited memory BFGS method
for large scale optimization". The last few steps and the changes of the gradient along them approximate the inverse Hessian.

The approximation starts from a diagonal matrix, the mean curvature of each coordinate over the classes. Where the coordinates
of the rows are principal components, it holds the whole Hessian at weights of 0. The search then takes a quarter of the steps
that it takes from a multiple of the identity.

Letters in shape comments: E problems, N classes, S rows, R coordinates of a row.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .problems import LogisticProblems, State, probabilities

HISTORY = 10  # steps to remember
RENEWED = 4  # steps after which the diagonal is computed anew
SMALLEST = 1e-30  # lower bound of a curvature before a division


class _Pair(NamedTuple):
    """A step [E, N·R], the change of the gradient along the step [E, N·R], and one over their product [E, 1]."""

    step: Tensor
    change: Tensor
    inverse: Tensor


class Memory:
    """The last steps of E searches, and the diagonal."""

    def __init__(self) -> None:
        self.pairs: list[_Pair] = []
        self.diagonal: Tensor | None = None  # [E, N·R], inverse curvatures
        self.steps = 0

    def taken(self, index: Tensor) -> Memory:
        """The memory of the problems at `index`."""
        memory = Memory()
        memory.pairs = [_Pair(*(part[index] for part in pair)) for pair in self.pairs]
        memory.diagonal = None if self.diagonal is None else self.diagonal[index]
        memory.steps = self.steps
        return memory

    def remember(self, step: Tensor, change: Tensor, product: Tensor) -> None:
        """Keep a step [E, N, R], the change of the gradient along it [E, N, R] and their product [E]."""
        inverse = (1 / product).nan_to_num(posinf=0.0)[:, None]  # problems that have stopped have steps of 0
        self.pairs = [*self.pairs[1 - HISTORY :], _Pair(step.flatten(1), change.flatten(1), inverse)]
        self.steps += 1

    def direction(self, problems: LogisticProblems, state: State) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient, [E, N, R]: the two-loop recursion."""
        if self.diagonal is None or self.steps % RENEWED == 0:
            self.diagonal = _inverse_curvatures(problems, state).flatten(1)
        direction, shares = -state.gradient.flatten(1), []
        for step, change, inverse in reversed(self.pairs):
            share = _dot(step, direction) * inverse
            direction.addcmul_(share, change, value=-1)
            shares.append(share)
        direction.mul_(self.diagonal)
        if self.pairs:
            newest = self.pairs[-1]
            scale = _dot(newest.step, newest.change) / _dot(self.diagonal * newest.change, newest.change)
            direction.mul_(scale.nan_to_num())
        for (step, change, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            direction.addcmul_(share - _dot(change, direction) * inverse, step)
        return direction.view_as(state.gradient)


def _inverse_curvatures(problems: LogisticProblems, state: State) -> Tensor:
    """One over the second derivative along each coordinate, as its mean over the classes: [E, N, R].

    The factor N / (N − 1) makes it exact at weights of 0 for weights that sum to 0 over the classes, as those of a solution do.
    """
    share, ways = probabilities(problems, state), state.others.shape[1]
    curvature = (share - share.square()).sum(dim=1, keepdim=True) * problems.costs[:, None, None] / (ways - 1)  # [E, 1, S]
    inverse = 1 / (curvature @ problems.rows.square() + problems.penalties).clamp(min=SMALLEST)
    return inverse.expand_as(state.gradient)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Dot products of [E, n] and [E, n], as [E, 1]."""
    # As matrix products, torch.bmm takes five times as long for these.
    return (first * second).sum(dim=1, keepdim=True)
