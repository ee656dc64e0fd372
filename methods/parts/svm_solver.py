"""Crammer and Singer's multi-class support vector machine for many small problems at once, differentiable in the data.

Written by hand, since available solvers of quadratic programs take one problem after another, and have no gradients.

Crammer and Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2. With one weight
vector a class and no intercept, min ½ Σ‖wₙ‖² + C Σᵢ maxₙ(1 − yᵢₙ + (wₙ − w_{yᵢ})·xᵢ) has wₙ = C Σᵢ (yᵢₙ − βᵢₙ)xᵢ, where the
βᵢ, one distribution over the classes for each image, solve the dual problem, here with G = C·XXᵀ and one-hot Y:

    min ½ Σₙ (βₙ − yₙ)ᵀG(βₙ − yₙ) + Σₙ yₙᵀβₙ      subject to β ≥ 0, Σₙ βₙ = 1      (βₙ, yₙ: column n)

Mehrotra's predictor-corrector interior-point method solves it (Nocedal and Wright 2006, "Numerical optimization", chapter
16.6). A Newton step only couples images within a class and classes within an image. It therefore needs N Cholesky factors of S
× S matrices and one for the constraints, and never a matrix of S·N rows.

Gradients come from the implicit function theorem: where the optimality conditions F(β, G) = 0 hold, an additional Newton step
with a constant matrix moves nothing and has the derivative −(∂F/∂β)⁻¹·∂F/∂G.

Letters in shape comments: E problems, N classes, S support rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Episodes, one_hot

MOST_STEPS = 60
TO_THE_BOUNDARY = 0.99  # largest step, as a share of the way to the nearest bound
TOLERANCE = 1e-14  # a problem is solved when the mean of β·z is at most this, for data on a scale of 1
RIDGE = 1e-10  # in units of the mean diagonal of G; keeps Cholesky factors of a singular G finite


def hyperplanes(episodes: Episodes, cost: float) -> Tensor:
    """The weight vectors [E, N, D] of the machines of E episodes with their cost C, float64, with gradients to the support."""
    support = episodes.support.double().masked_fill((episodes.support_labels < 0)[..., None], 0)  # [E, S, D]
    labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
    gram = cost * torch.bmm(support, support.transpose(1, 2))  # [E, S, S]
    dual = cost * solve(gram, labels, episodes.class_mask)  # [E, S, N]
    return torch.bmm(dual.transpose(1, 2), support)


def matrices(support: int, ways: int) -> int:
    """Bytes of the matrices of a step for one episode: N + 1 of [S, S] in float64, their factors, inverses and products."""
    return 4 * 8 * (ways + 1) * support**2


def solve(gram: Tensor, targets: Tensor, class_mask: Tensor) -> Tensor:
    """The differences Y − β at the solution, with gradients to `gram`.

    Args:
        gram: float64 [E, S, S], G; a padded place is a row and a column of zeros.
        targets: float64 [E, S, N], Y; a padded place is a row of zeros.
        class_mask: bool [E, N], False where an episode has fewer classes.

    Returns:
        float64 [E, S, N]; 0 for padded places, and where an episode has fewer classes.
    """
    targets = targets.transpose(1, 2)  # [E, N, S]
    problem = _Problem(gram, targets, class_mask[..., None] & targets.any(dim=1, keepdim=True))
    with torch.no_grad():
        point = problem.solution()
        newton = _Newton(problem, point)
    step, _ = newton.direction(problem.dual_residual(point))
    return (targets - (point.beta + step)).mul(problem.free).transpose(1, 2)


@dataclass
class _Point:
    """An iterate.

    Attributes:
        beta: [E, N, S], above 0; 1 where a variable is not free.
        slack: [E, N, S], z, the multipliers of β ≥ 0, above 0; 1 where a variable is not free.
        level: [E, S], ν, the multipliers of Σₙ βₙ = 1.
    """

    beta: Tensor
    slack: Tensor
    level: Tensor

    def moved(self, step: _Point, length: Tensor) -> _Point:
        """Add length [E] times a step."""
        along = length[:, None, None]
        return _Point(self.beta + along * step.beta, self.slack + along * step.slack, self.level + along[:, 0] * step.level)

    def where(self, chosen: Tensor, other: _Point) -> _Point:
        """Take this point where `chosen`, bool [E], is True, and the other point elsewhere."""
        choice = chosen[:, None, None]
        return _Point(
            torch.where(choice, self.beta, other.beta),
            torch.where(choice, self.slack, other.slack),
            torch.where(choice[:, 0], self.level, other.level),
        )

    def is_finite(self) -> Tensor:
        """Whether all numbers of a problem are finite, bool [E]."""
        return (self.beta.isfinite() & self.slack.isfinite()).all(dim=2).all(dim=1) & self.level.isfinite().all(dim=1)


class _Problem:
    """E quadratic programs."""

    def __init__(self, gram: Tensor, targets: Tensor, free: Tensor) -> None:
        mean_diagonal = gram.detach().diagonal(dim1=1, dim2=2).mean(dim=1)  # [E]
        identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        self.gram = gram + RIDGE * mean_diagonal[:, None, None] * identity  # [E, S, S]
        self.targets = targets  # [E, N, S]
        self.free = free.to(gram.dtype)  # [E, N, S], 1 where β is a variable, 0 for padding and absent classes
        self.tolerance = TOLERANCE / (1 + mean_diagonal)  # [E]

    def gradient(self, beta: Tensor) -> Tensor:
        """Gradient of the objective with respect to β, [E, N, S]."""
        difference = (beta - self.targets) * self.free
        return (torch.bmm(difference, self.gram) + self.targets) * self.free

    def dual_residual(self, point: _Point) -> Tensor:
        """Residual of the stationarity condition, [E, N, S]."""
        return self.gradient(point.beta) - (point.level[:, None] + point.slack) * self.free

    def gap(self, point: _Point) -> Tensor:
        """Mean of β·z over the variables, [E]."""
        return (point.beta * point.slack * self.free).sum(dim=(1, 2)) / self.free.sum(dim=(1, 2))

    def solution(self) -> _Point:
        """Follow the central path until every problem is solved. A solved problem does not move while others continue."""
        point = self._start()
        moving = torch.ones_like(self.tolerance, dtype=torch.bool)
        for _ in range(MOST_STEPS):
            moved = self._step(point)
            # At the limits of float64 a step can fail; the point before it is then the best one.
            moving = moving & (self.gap(point) > self.tolerance) & moved.is_finite()
            if not moving.any():
                break
            point = moved.where(moving, point)
        return point

    def _start(self) -> _Point:
        """The initial point: each image divided equally among the classes, with feasible slack and level, slack far from 0."""
        beta = self.free / self.free.sum(dim=1, keepdim=True).clamp(min=1)
        gradient = self.gradient(beta)
        lowest = gradient.masked_fill(self.free == 0, torch.inf).amin(dim=1)  # [E, S]
        lowest = lowest.where(lowest.isfinite(), 0)  # no class is free where a place is padding
        slack = (gradient - lowest[:, None]) * self.free
        room = (slack.sum(dim=(1, 2)) / self.free.sum(dim=(1, 2))).clamp(min=1)  # [E]
        absent = 1 - self.free
        return _Point(beta + absent, (slack + room[:, None, None]) * self.free + absent, lowest - room[:, None])

    def _step(self, point: _Point) -> _Point:
        """Make a predictor step and a corrector step, as long as the bounds allow."""
        newton, gap = _Newton(self, point), self.gap(point)
        residual, product = self.dual_residual(point), point.beta * point.slack
        ahead = newton.step(residual, product)
        centring = (self.gap(point.moved(ahead, self._longest(point, ahead))) / gap).clamp(0, 1) ** 3  # Mehrotra's choice
        step = newton.step(residual, product + ahead.beta * ahead.slack - (centring * gap)[:, None, None])
        return point.moved(step, (TO_THE_BOUNDARY * self._longest(point, step)).clamp(max=1))

    @staticmethod
    def _longest(point: _Point, step: _Point) -> Tensor:
        """The largest factor on a step, [E], before β or z reach 0; at most 1 / TO_THE_BOUNDARY."""
        values, changes = torch.cat([point.beta, point.slack], dim=1), torch.cat([step.beta, step.slack], dim=1)
        reach = torch.where(changes < 0, -values / changes, torch.inf)
        return reach.amin(dim=(1, 2)).clamp(max=1 / TO_THE_BOUNDARY)


class _Newton:
    """The factorised linear system of a Newton step at a point."""

    def __init__(self, problem: _Problem, point: _Point) -> None:
        self.free, self.point = problem.free, point
        self.ratio = point.slack / point.beta  # [E, N, S]
        blocks = problem.gram[:, None] + torch.diag_embed(self.ratio)  # [E, N, S, S]
        factors = torch.linalg.cholesky_ex(blocks)[0]
        identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device).expand_as(blocks)
        halves = torch.linalg.solve_triangular(factors, identity, upper=False) * self.free[..., None, :]
        self.inverses = halves.transpose(-1, -2) @ halves  # twice as fast as torch.cholesky_inverse
        empty = (self.free.sum(dim=1) == 0).to(self.free.dtype)  # [E, S], a padded place: its level stays as it is
        constraints = self.inverses.sum(dim=1) + torch.diag_embed(empty)
        self.constraints = torch.linalg.cholesky_ex(constraints)[0]  # [E, S, S]

    def direction(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of β and ν that remove a residual [E, N, S] and leave the sums of β as they are."""
        inner = self._times_inverses(residual)
        level = torch.cholesky_solve(inner.sum(dim=1)[..., None], self.constraints)[..., 0]  # [E, S]
        return self._times_inverses(level[:, None]) - inner, level

    def _times_inverses(self, columns: Tensor) -> Tensor:
        """Product with columns [E, N, S] or [E, 1, S]. This form is faster than batched products of matrix and column."""
        return (self.inverses * columns[..., None, :]).sum(dim=-1)

    def step(self, residual: Tensor, product: Tensor) -> _Point:
        """The step that makes the dual residual and β·z − (β·z − product) vanish to first order."""
        excess = product / self.point.beta * self.free
        beta, level = self.direction(residual + excess)
        return _Point(beta, -(excess + self.ratio * beta * self.free), level)
