"""The solver of logistic regressions, with either search direction: solved problems that do not disturb each other."""

from __future__ import annotations

import math

import pytest
import torch

from fewbench.methods.parts.logistic import solver
from fewbench.methods.parts.logistic.newton import newton_direction
from fewbench.methods.parts.logistic.problems import LogisticProblems, State
from fewbench.methods.parts.logistic.solver import solve

COSTS = (1e-3, 1.0, 1e3, 1e6)


@pytest.fixture(params=[0, solver.FEW], ids=["L-BFGS", "Newton"], autouse=True)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "FEW", request.param)


def problems_of(costs: tuple[float, ...], tolerance: float = 1e-6) -> LogisticProblems:
    """One random problem of 12 rows, 3 classes and 4 coordinates, the last without a penalty, at several costs."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(1, 12, 4, generator=generator, dtype=torch.float64)
    rows[..., -1] = 1
    targets = torch.nn.functional.one_hot(torch.arange(12) % 3).double().T[None]
    count = len(costs)
    return LogisticProblems(
        rows=rows.repeat(count, 1, 1),
        targets=targets.repeat(count, 1, 1),
        left_out=torch.zeros_like(targets).masked_fill(targets > 0, -torch.inf).repeat(count, 1, 1),
        costs=torch.tensor(costs, dtype=torch.float64),
        penalties=torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64),
        tolerances=torch.full((count,), tolerance, dtype=torch.float64),
    )


def objective(problems: LogisticProblems, weights: torch.Tensor) -> torch.Tensor:
    """Sum over the problems, from the definition."""
    log_probability = (weights @ problems.rows.mT).log_softmax(dim=1)
    entropy = -(problems.targets * log_probability).sum(dim=(1, 2))
    return (problems.costs * entropy + (problems.penalties * weights.square()).sum(dim=(1, 2)) / 2).sum()


def test_the_gradient_of_the_objective_vanishes_at_the_solution():
    problems = problems_of(COSTS)
    weights = solve(problems).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(problems, weights), weights)
    assert (gradient.flatten(1).norm(dim=1) <= 2e-6 + 1e-12 * problems.costs).all()


def test_the_gradient_is_that_of_the_objective():
    problems = problems_of(COSTS)
    weights = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(objective(problems, weights), weights)
    with torch.no_grad():
        torch.testing.assert_close(
            problems.gradient(weights, problems.others(problems.margins(weights)).probabilities), expected
        )


def test_margins_beyond_the_range_of_the_exponential_give_their_cross_entropy():
    problems = problems_of((1.0,))
    margins = torch.zeros(1, 3, 12, dtype=torch.float64)
    margins[0, 1, 0], margins[0, :, 3] = 2000.0, -50.0  # rows 0 and 3 are of class 0
    found = problems.others(margins).cross_entropy[0]
    assert found[0] == pytest.approx(2000.0)
    assert found[3] == pytest.approx(2 * math.exp(-50), rel=1e-12)


def test_a_problem_is_solved_alike_alone_and_beside_others():
    together = solve(problems_of(COSTS))
    for i, cost in enumerate(COSTS):
        torch.testing.assert_close(solve(problems_of((cost,)))[0], together[i], rtol=1e-5, atol=1e-7)


def test_problems_leave_the_batch_as_they_are_solved(monkeypatch: pytest.MonkeyPatch):
    sizes, line_search = [], solver._line_search

    def watched(problems: LogisticProblems, *others):
        sizes.append(len(problems.costs))
        return line_search(problems, *others)

    monkeypatch.setattr(solver, "_line_search", watched)
    solve(problems_of(COSTS))
    assert sizes[0] == 4 and sizes[-1] < 4
    assert sizes == sorted(sizes, reverse=True)


def test_a_problem_that_is_solved_at_the_start_stays_there():
    problems = problems_of((1.0, 1.0))
    tolerances = torch.tensor([1e9, 1e-6], dtype=torch.float64)
    found = solve(LogisticProblems(**{**vars(problems), "tolerances": tolerances}))
    assert not found[0].any() and found[1].any()


def test_the_search_ends_after_the_most_steps(monkeypatch: pytest.MonkeyPatch):
    problems = problems_of((1.0,))
    with monkeypatch.context() as patch:
        patch.setattr(solver, "MOST_STEPS", 2)
        far = solve(problems)
    assert objective(problems, solve(problems)) < objective(problems, far) < objective(problems, torch.zeros_like(far))


def test_a_search_that_starts_at_the_solution_stays_there():
    problems = problems_of(COSTS)
    found = solve(problems)
    torch.testing.assert_close(solve(problems, found), found)


def test_newtons_direction_solves_the_equations_of_the_hessian():
    problems = problems_of((1.0,))
    weights = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights -= weights.mean(dim=1, keepdim=True)  # as those of every point of a search
    state = State.at(problems, weights)
    hessian = torch.func.hessian(lambda w: objective(problems, w))(weights).reshape(12, 12)
    step = newton_direction(problems, state)
    torch.testing.assert_close(hessian @ step.flatten(), -state.gradient.flatten())
