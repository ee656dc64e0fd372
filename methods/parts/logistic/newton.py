"""Newton's search directions for many logistic regressions of few coordinates.

With the probabilities p, the Hessian couples the weights of two classes n and m by Σₛ costs · (δₙₘ·pₛₙ − pₛₙ·pₛₘ) · rowₛ·rowₛᵀ.
It is a matrix B of one block [R, R] a class, less a product U·Uᵀ with one column for each row s. The Sherman–Morrison–Woodbury
formula therefore needs Cholesky factors L of the blocks and of one matrix of [S, S], and never a matrix of N·R rows:

    (B − U·Uᵀ)⁻¹ = L⁻ᵀ·(1 + V·(1 − Vᵀ·V)⁻¹·Vᵀ)·L⁻¹      with V = L⁻¹·U

Where a coordinate is the intercept, without a penalty and the same in all rows, the same number added to the weights of all
classes changes nothing. 1 − VᵀV is then singular along the vector of ones, and a curvature is added there, where the gradient
has no part.

Letters in shape comments: E problems, N classes, S rows, R coordinates of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .problems import LogisticProblems, State, probabilities


def newton_direction(problems: LogisticProblems, state: State) -> Tensor:
    """Minus the inverse Hessian times the gradient, [E, N, R]."""
    rows, costs = problems.rows, problems.costs[:, None, None]
    share = probabilities(problems, state)  # [E, N, S]
    weighted = rows.transpose(1, 2)[:, None] * (costs * share)[:, :, None]  # √costs · U, [E, N, R, S]
    blocks = torch.bmm(weighted.flatten(1, 2), rows).view(*share.shape[:2], *2 * rows.shape[2:])  # [E, N, R, R]
    diagonal = blocks.diagonal(dim1=2, dim2=3)
    diagonal.add_(problems.penalties)
    diagonal.add_((diagonal == 0).to(rows.dtype))  # an intercept of a class that the episode does not have
    factors = torch.linalg.cholesky_ex(blocks)[0]
    halves = torch.linalg.solve_triangular(factors, weighted, upper=False)  # √costs · V, [E, N, R, S]
    target = torch.linalg.solve_triangular(factors, state.gradient[..., None], upper=False)  # [E, N, R, 1]
    present = problems.targets.sum(dim=1)  # [E, S], 0 where a place is padding
    inner = present[:, :, None] * (present / present.sum(dim=1, keepdim=True))[:, None]  # [E, S, S]
    inner.diagonal(dim1=1, dim2=2).add_(1)
    inner.sub_((halves.transpose(2, 3) @ halves).sum(dim=1).div_(costs))
    coupled = (halves.transpose(2, 3) @ target).sum(dim=1).div_(costs)  # [E, S, 1]
    coupled = torch.cholesky_solve(coupled, torch.linalg.cholesky_ex(inner)[0])
    target = target + halves @ coupled[:, None]
    step = torch.linalg.solve_triangular(factors.transpose(2, 3), target, upper=True)[..., 0]
    there = (problems.targets.sum(dim=2, keepdim=True) > 0).to(step.dtype)  # [E, N, 1], 0 for absent classes
    if there.all():
        return step.mean(dim=1, keepdim=True) - step  # the sum over the classes stays 0
    mean = (step * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    return (mean - step) * there
