"""Class prototypes moved by Adam along an objective of support labels and query predictions, all episodes at once.

A prototype w of class k and a feature z have the score τ·(w·z − ½‖w‖²), which up to a number for each feature is −τ/2·‖w − z‖².
With p the softmax of the scores, the objective is

    c · mean over the support of −log p_y + an objective of the queries' probabilities,

whose derivative d by these the caller gives. The gradients are written out: that of the scores of a query is p·(d − Σ p·d), and
that of a prototype Σ g·τ·(z − w), over all rows with gradient g of their score.

Boudiaf et al. 2020, "Transductive information maximization for few-shot learning", arXiv:2008.11297 (TIM-GD).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..parts.adam import Adam
from .joint import Joint

# From probabilities of the queries and their logarithms, [E, N, Q], 0 for padding, to the derivative of the objective.
Derivative = Callable[[Tensor, Tensor], Tensor]


def descend(
    joint: Joint, derivative: Derivative, *, scale: float, cross_entropy: float, steps: int, learning_rate: float
) -> Tensor:
    """Move prototypes from the class means of the support.

    Args:
        joint: the rows.
        derivative: of the queries' objective.
        scale: τ.
        cross_entropy: c.
        steps: of Adam.
        learning_rate: of Adam.

    Returns:
        Scores of the queries at the end, [E, N, Q].
    """
    rows, shots = joint.rows, joint.shots
    columns = rows.transpose(1, 2)  # [E, D, F]; a copy of it would be a second thing to fit in the cache
    prototypes = torch.bmm(joint.starts(), rows)  # [E, N, D]
    known = joint.labels.sum(dim=1, keepdim=True) * (cross_entropy / joint.support_count)  # [E, 1, S]
    optimizer = Adam([prototypes], [learning_rate])

    def scored() -> Tensor:
        offset = joint.absent / scale - prototypes.square().sum(dim=2, keepdim=True) / 2  # [E, N, 1]
        return torch.baddbmm(offset, prototypes, columns, beta=scale, alpha=scale)  # [E, N, F]

    for _ in range(steps):
        logarithms = scored().log_softmax(dim=1)
        gradient = logarithms.exp()
        gradient[..., :shots].sub_(joint.labels).mul_(known)
        query = gradient[..., shots:].mul_(joint.present)
        slope = derivative(query, logarithms[..., shots:])
        query.mul_(slope - (query * slope).sum(dim=1, keepdim=True))
        step = torch.bmm(gradient, rows).addcmul_(gradient.sum(dim=2, keepdim=True), prototypes, value=-1).mul_(scale)
        optimizer.step([step])
    return scored()[..., shots:]
