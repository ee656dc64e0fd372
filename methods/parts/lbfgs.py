"""Limited-memory BFGS for many logistic regressions at once.

Written by hand, since neither SciPy's nor torch's L-BFGS solves many problems at once.

Nocedal 1980, "Updating quasi-Newton matrices with limited storage"; Liu and Nocedal 1989, "On the limited memory BFGS method
for large scale optimization". The last few steps and the changes of the gradient along them approximate the inverse Hessian.

Every problem of the batch has its own line search and stops by itself. A problem that has stopped takes no further step, and
when half of the problems in the batch have stopped, they leave it. Along a search direction the logits move linearly, so that
the line search needs no matrix product. It ends by the approximate Wolfe conditions (Hager and Zhang 2005, "A new conjugate
gradient method with guaranteed descent and an efficient line search"), which also work where the objective's last digits are
inexact.

The search takes hundreds of steps. Small steps run in one thread, since a second thread makes them twenty times slower on a
busy processor.

Letters in shape comments: E problems, N classes, S rows, R coordinates of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

HISTORY = 10  # steps to remember
MOST_STEPS = 10_000
MOST_TRIALS = 60  # limit of a line search: more than any bisection in float64 needs
DESCENT, CURVATURE = 0.1, 0.9  # Hager and Zhang's δ and σ
ROUNDING = 1e-13  # share of the objective that counts as rounding error
SMALL = 2**18  # one thread is used below this size of all margins
GROWTH = 4.0  # factor on a step that was too short


@dataclass(frozen=True)
class LogisticProblems:
    """E problems: minimise costs · Σₛ cross-entropyₛ + ½ Σ penalties · weights² over the weights [N, R].

    Attributes:
        rows: float64 [E, S, R]; zeros where a place is padding.
        targets: [E, N, S], one-hot labels; zeros where a place is padding.
        left_out: [E, N, S], −∞ for a row's own class, for classes that the problem does not have and for padding, else 0.
        costs: [E], factor on the sum of the cross-entropies.
        penalties: [R], penalty of each coordinate, at least 0.
        tolerances: [E], a problem is solved when the gradient is at most this long.
    """

    rows: Tensor
    targets: Tensor
    left_out: Tensor
    costs: Tensor
    penalties: Tensor
    tolerances: Tensor

    def taken(self, index: Tensor) -> LogisticProblems:
        """The problems at `index`."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return LogisticProblems(**{name: part if name == "penalties" else part[index] for name, part in parts.items()})

    def margins(self, weights: Tensor) -> Tensor:
        """Each logit minus that of the row's own class: [E, N, R] to [E, N, S]; zeros where a place is padding.

        Margins are linear in the weights. From them small cross-entropies are exact, unlike from differences of logits.
        """
        logits = torch.bmm(weights, self.rows.transpose(1, 2))
        return logits.sub_((self.targets * logits).sum(dim=1, keepdim=True))

    def gradient(self, weights: Tensor, others: Tensor) -> Tensor:
        """Gradient of the objective, costs · Σₛ (softmax − target)·row + penalties · weights: [E, N, R].

        Args:
            weights: [E, N, R].
            others: [E, N, S], probabilities of the other classes of each row, at these weights.
        """
        error = torch.addcmul(others, self.targets, others.sum(dim=1, keepdim=True), value=-1)
        return torch.bmm(error.mul_(self.costs[:, None, None]), self.rows).addcmul_(weights, self.penalties)

    def others(self, margins: Tensor) -> _Others:
        """Compute probabilities of the other classes, and cross-entropies, from the margins."""
        margins = margins + self.left_out
        shift = margins.amax(dim=1, keepdim=True).clamp_(min=0)  # [E, 1, S]
        exponential = margins.sub_(shift).exp_()  # [E, N, S]
        total = torch.expm1(-shift).add_(exponential.sum(dim=1, keepdim=True))  # [E, 1, S], less 1
        return _Others(exponential.div_(1 + total), (shift + total.log1p())[:, 0])


class _Others(NamedTuple):
    """Probabilities [E, N, S] of a row's other classes, 0 for its own and for padding, and the row's cross-entropy [E, S]."""

    probabilities: Tensor
    cross_entropy: Tensor


class _State(NamedTuple):
    """The current weights [E, N, R], their margins [E, N, S], and the objective's value [E] and gradient [E, N, R]."""

    weights: Tensor
    margins: Tensor
    value: Tensor
    gradient: Tensor

    @classmethod
    def start(cls, problems: LogisticProblems, weights: Tensor) -> _State:
        """The state at weights of 0, where the penalty is 0, too."""
        margins = torch.zeros_like(problems.targets)
        others = problems.others(margins)
        value = problems.costs * others.cross_entropy.sum(dim=1)
        return cls(weights, margins, value, problems.gradient(weights, others.probabilities))


class _Pair(NamedTuple):
    """A step [E, N·R], the change of the gradient along the step [E, N·R], and one over their product [E, 1]."""

    step: Tensor
    change: Tensor
    inverse: Tensor


def solve(problems: LogisticProblems) -> Tensor:
    """The weights of each problem, [E, N, R]; the search starts at 0."""
    with _one_thread() if problems.targets.numel() < SMALL else nullcontext():
        return _solved(problems)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _solved(problems: LogisticProblems) -> Tensor:
    count, ways, _ = problems.targets.shape
    solution = problems.rows.new_zeros(count, ways, problems.rows.shape[2])
    places = torch.arange(count, device=solution.device)  # where the problems at work belong
    state = _State.start(problems, torch.zeros_like(solution))
    pairs: list[_Pair] = []
    active = _norm(state.gradient) > problems.tolerances  # [E]
    for _ in range(MOST_STEPS):
        if 2 * int(active.sum()) <= len(active):
            solution[places] = state.weights
            kept = active.nonzero()[:, 0]
            if not len(kept):
                return solution
            problems, places, active = problems.taken(kept), places[kept], active[kept]
            state, pairs = _State(*(part[kept] for part in state)), [_Pair(*(part[kept] for part in pair)) for pair in pairs]
        direction = _direction(state.gradient.flatten(1), pairs).view_as(state.gradient)
        before, state = state, _line_search(problems, state, direction, active)
        step, change = (state.weights - before.weights).flatten(1), (state.gradient - before.gradient).flatten(1)
        product = _dot(step, change)
        # The Wolfe conditions make the product positive. Where rounding prevents that, no better point can be found.
        active = active & (_norm(state.gradient) > problems.tolerances) & (product[:, 0] > 0)
        pairs = [*pairs[1 - HISTORY :], _Pair(step, change, (1 / product).nan_to_num(posinf=0.0))]
    solution[places] = state.weights
    return solution


def _direction(gradient: Tensor, pairs: list[_Pair]) -> Tensor:
    """Minus the approximate inverse Hessian times the gradient, [E, N·R]: the two-loop recursion."""
    if not pairs:
        return -gradient / torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    direction, shares = -gradient, []
    for step, change, inverse in reversed(pairs):
        share = _dot(step, direction) * inverse
        direction.addcmul_(share, change, value=-1)
        shares.append(share)
    newest = pairs[-1]
    scale = _dot(newest.step, newest.change) / _dot(newest.change, newest.change)
    direction.mul_(scale.nan_to_num())  # problems that have stopped have steps of 0
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        direction.addcmul_(share - _dot(change, direction) * inverse, step)
    return direction


def _line_search(problems: LogisticProblems, state: _State, direction: Tensor, active: Tensor) -> _State:
    """The state after a step along each direction [E, N, R]; problems that have stopped stay where they are."""
    slope = problems.margins(direction)  # [E, N, S]
    line = _Line(problems, state, direction, slope)
    derivative = (state.gradient * direction).sum(dim=(1, 2))  # [E]
    highest = state.value + ROUNDING * state.value.abs()
    length = torch.where(active, 1.0, torch.zeros_like(highest))
    low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
    searching = active
    for _ in range(MOST_TRIALS):
        value, new_derivative, others = line.at(length)
        too_far = (new_derivative > (2 * DESCENT - 1) * derivative) | (value > highest)
        too_near = (new_derivative < CURVATURE * derivative) & ~too_far
        searching = searching & (too_far | too_near)
        if not searching.any():
            break
        high, low = torch.where(too_far, length, high), torch.where(too_near, length, low)
        next_length = torch.where(high.isinf(), GROWTH * length, (low + high) / 2)
        length = torch.where(searching, next_length, length)
    else:
        value, _, others = line.at(length)
    factor = length[:, None, None]
    weights = torch.addcmul(state.weights, factor, direction)
    margins = torch.addcmul(state.margins, factor, slope)
    return _State(weights, margins, value, problems.gradient(weights, others))


class _Line:
    """The objective along a direction, for E problems."""

    def __init__(self, problems: LogisticProblems, state: _State, direction: Tensor, slope: Tensor) -> None:
        self.problems, self.margins, self.slope = problems, state.margins, slope
        penalised = problems.penalties * direction
        self.squares = (problems.penalties * state.weights.square()).sum(dim=(1, 2))  # [E]
        self.product = (penalised * state.weights).sum(dim=(1, 2))
        self.curvature = (penalised * direction).sum(dim=(1, 2))

    def at(self, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value and derivative [E] at a length [E], and the probabilities of the other classes of each row, [E, N, S]."""
        margins = torch.addcmul(self.margins, length[:, None, None], self.slope)
        probabilities, cross_entropy = self.problems.others(margins)
        penalty = self.squares / 2 + length * self.product + length.square() * self.curvature / 2
        derivative = (probabilities * self.slope).sum(dim=(1, 2))
        costs = self.problems.costs
        derivative = costs * derivative + self.product + length * self.curvature
        return costs * cross_entropy.sum(dim=1) + penalty, derivative, probabilities


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Dot products of [E, n] and [E, n], as [E, 1]."""
    return torch.bmm(first[:, None], second[..., None])[..., 0]


def _norm(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient, dim=(1, 2))
