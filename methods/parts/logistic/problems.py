"""Logistic regressions, many at once: their objective, its gradient, and a point of the search for its minimum.

Letters in shape comments: E problems, N classes, S rows, R coordinates of a row.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogisticProblems:
    """E problems: minimise costs · Σₛ cross-entropyₛ + ½ Σ penalties · weights² over the weights [N, R].

    Attributes:
        rows: float64 [E, S, R], or float32 where a tolerance allows for it; zeros where a place is padding.
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

    def others(self, margins: Tensor) -> Others:
        """Compute probabilities of the other classes, and cross-entropies, from the margins."""
        margins = margins + self.left_out
        shift = margins.amax(dim=1, keepdim=True).clamp_(min=0)  # [E, 1, S]
        exponential = margins.sub_(shift).exp_()  # [E, N, S]
        total = torch.expm1(-shift).add_(exponential.sum(dim=1, keepdim=True))  # [E, 1, S], less 1
        return Others(exponential.div_(1 + total), (shift + total.log1p())[:, 0])


class Others(NamedTuple):
    """Probabilities [E, N, S] of a row's other classes, 0 for its own and for padding, and the row's cross-entropy [E, S]."""

    probabilities: Tensor
    cross_entropy: Tensor


class State(NamedTuple):
    """A point of each problem's search.

    Attributes:
        weights: [E, N, R].
        margins: [E, N, S], as `LogisticProblems.margins` gives them.
        others: [E, N, S], probabilities of the other classes of each row.
        value: [E], the objective.
        gradient: [E, N, R], of the objective.
    """

    weights: Tensor
    margins: Tensor
    others: Tensor
    value: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, problems: LogisticProblems, weights: Tensor) -> State:
        """The state at weights [E, N, R]."""
        margins = problems.margins(weights)
        others, cross_entropy = problems.others(margins)
        penalty = (problems.penalties * weights.square()).sum(dim=(1, 2)) / 2
        value = problems.costs * cross_entropy.sum(dim=1) + penalty
        return cls(weights, margins, others, value, problems.gradient(weights, others))

    def taken(self, index: Tensor) -> State:
        """The states of the problems at `index`."""
        return State(*(part[index] for part in self))


def probabilities(problems: LogisticProblems, state: State) -> Tensor:
    """Probability of every class for each row, [E, N, S]; zeros where a place is padding."""
    return torch.addcmul(state.others, problems.targets, 1 - state.others.sum(dim=1, keepdim=True))
