"""A solver of many logistic regressions at once, each with its own line search and its own end.

Written by hand, since the optimisers of SciPy and torch solve one problem after another.

A search direction is Newton's where rows have few coordinates (newton.py), and else that of L-BFGS (lbfgs.py). A problem that
has stopped takes no further step, and when half of the problems in the batch have stopped, they leave it. Along a search
direction the logits move linearly, so that the line search needs no matrix product. It ends by the approximate Wolfe conditions
(Hager and Zhang 2005, "A new conjugate gradient method with guaranteed descent and an efficient line search"), which also work
where the objective's last digits are inexact.

Small steps run in one thread, since a second thread makes them twenty times slower on a busy processor.

Letters in shape comments: E problems, N classes, S rows, R coordinates of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from .lbfgs import Memory
from .newton import newton_direction
from .problems import LogisticProblems, State

FEW = 64  # coordinates: up to here Newton's few long steps take less time than the many short ones of L-BFGS
MOST_STEPS = 10_000
MOST_TRIALS = 60  # limit of a line search: more than any bisection in float64 needs
DESCENT, CURVATURE = 0.1, 0.9  # Hager and Zhang's δ and σ
ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-5}  # share of the objective that counts as rounding error
SMALL = 2**18  # one thread is used below this size of all margins
GROWTH = 4.0  # factor on a step that was too short


def solve(problems: LogisticProblems, start: Tensor | None = None, few: int = FEW) -> Tensor:
    """The weights of each problem, [E, N, R].

    Args:
        problems: to be solved.
        start: [E, N, R], where the search starts; 0 without it.
        few: coordinates up to which Newton's steps are taken; 0 for thousands of rows, whose cube such a step costs.
    """
    with _one_thread() if problems.targets.numel() < SMALL else nullcontext():
        return _solved(problems, start, few)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _solved(problems: LogisticProblems, start: Tensor | None, most: int) -> Tensor:
    (count, ways, _), coordinates = problems.targets.shape, problems.rows.shape[2]
    solution = problems.rows.new_zeros(count, ways, coordinates) if start is None else start.clone()
    places = torch.arange(count, device=solution.device)  # where the problems at work belong
    state, memory = State.at(problems, solution.clone()), Memory()
    active = _norm(state.gradient) > problems.tolerances  # [E]
    few = coordinates <= most
    for step_number in range(MOST_STEPS):
        if 2 * int(active.sum()) <= len(active):
            solution[places] = state.weights
            kept = active.nonzero()[:, 0]
            if not len(kept):
                return solution
            problems, places, active = problems.taken(kept), places[kept], active[kept]
            state, memory = state.taken(kept), memory.taken(kept)
        # At weights of 0 the diagonal that a memory begins with is as good as Newton's matrix, and costs less.
        newton = few and (step_number > 0 or start is not None)
        direction = newton_direction(problems, state) if newton else memory.direction(problems, state)
        before, state = state, _line_search(problems, state, direction, active)
        step, change = state.weights - before.weights, state.gradient - before.gradient
        product = (step * change).sum(dim=(1, 2))  # [E]
        # The Wolfe conditions make the product positive. Where rounding prevents that, no better point can be found.
        active = active & (_norm(state.gradient) > problems.tolerances) & (product > 0)
        if not few:
            memory.remember(step, change, product)
    solution[places] = state.weights
    return solution


def _line_search(problems: LogisticProblems, state: State, direction: Tensor, active: Tensor) -> State:
    """The state after a step along each direction [E, N, R]; problems that have stopped stay where they are."""
    slope = problems.margins(direction)  # [E, N, S]
    line = _Line(problems, state, direction, slope)
    derivative = (state.gradient * direction).sum(dim=(1, 2))  # [E]
    highest = state.value + ROUNDING[state.value.dtype] * state.value.abs()
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
    return State(weights, margins, others, value, problems.gradient(weights, others))


class _Line:
    """The objective along a direction, for E problems."""

    def __init__(self, problems: LogisticProblems, state: State, direction: Tensor, slope: Tensor) -> None:
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


def _norm(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient, dim=(1, 2))
