"""Optimal transport with an entropy term, of queries to classes of given sizes, for many small problems at once.

Cuturi 2013, "Sinkhorn distances: lightspeed computation of optimal transport", arXiv:1306.0895. The plan is the softmax over
the classes of score + price, where one price a class gives every class its size. Sinkhorn's alternating scaling finds the
prices slowly where the scores are sharp. Here Newton's method finds them, as the minimum of the convex function of prices v

    Σ over queries of log Σₙ exp(scoreₙ + vₙ) − Σₙ sizeₙ·vₙ,

whose gradient is the difference of the classes' sums and sizes. A step Δ is shortened to log(1 + d)/d of its length, where d is
the range of Δ over the classes, with which it converges from any start (Sun and Tran-Dinh 2019, "Generalized self-concordant
functions", Mathematical Programming 178).

A problem whose sums are right stays as it is while others go on: where all predictions are certain, the second derivative is
smaller than its rounding, and further steps would lead away. For the same reason its diagonal is the sum of what lies beside
it, which no rounding makes negative.

Letters in shape comments: E problems, N classes, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_STEPS = 60
TOLERANCE = 2e-6  # largest difference between a class's sum and its size, as a part of all queries
RIDGE = 1e-6  # on the diagonal of the second derivative, as a part of all queries; it vanishes where predictions are certain


def balanced(scores: Tensor, sizes: Tensor, present: Tensor, prices: Tensor) -> tuple[Tensor, Tensor]:
    """The plan in which every query has the sum 1, and every class its size.

    Args:
        scores: [E, N, Q], the logarithm of the plan before prices; far below all others where an episode has no such class.
        sizes: [E, N, 1], with the sum of `present`; 0 for a class that an episode does not have.
        present: [E, 1, Q], 1 for a query and 0 for padding.
        prices: [E, N, 1], where to start.

    Returns:
        The plan [E, N, Q], 0 for padding; its prices.
    """
    total = sizes.sum(dim=1, keepdim=True).clamp(min=1)  # [E, 1, 1]
    # Prices are free up to a number; the product of the sizes takes that freedom, and 1 stands for absent classes.
    fixed = sizes * sizes.transpose(1, 2) / total + torch.diag_embed((sizes[..., 0] == 0) + RIDGE * total[..., 0])
    plan = (scores + prices).softmax(dim=1) * present
    for _ in range(MOST_STEPS):
        missing = sizes - plan.sum(dim=2, keepdim=True)  # [E, N, 1]
        unfinished = missing.abs().amax(dim=1, keepdim=True) > TOLERANCE * total  # [E, 1, 1]
        if not unfinished.any():
            break
        beside = torch.bmm(plan, plan.transpose(1, 2))  # [E, N, N]
        beside.diagonal(dim1=1, dim2=2).zero_()
        curvature = torch.diag_embed(beside.sum(dim=2)) - beside + fixed
        step = torch.linalg.solve_ex(curvature, missing)[0]  # [E, N, 1]
        reach = step.amax(dim=1, keepdim=True) - step.amin(dim=1, keepdim=True)  # [E, 1, 1]
        prices = prices + (step * (reach.log1p() / reach.clamp(min=1e-12))).where(unfinished, 0)
        plan = (scores + prices).softmax(dim=1) * present
    return plan, prices
