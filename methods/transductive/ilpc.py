"""iLPC: labels spread over a graph of neighbours, and cleaned in rounds.

Lazarou, Stathaki and Avrithis 2021, "Iterative label cleaning for transductive and semi-supervised few-shot learning",
arXiv:2012.07962.

Features are power-transformed, scaled to length 1, centred on the mean of all rows of the episode, and scaled again. In the
graph of nearest neighbours an edge has the cosine to the power of `gamma`, where it is positive. In each round

1. labels spread from the labelled rows over the graph (Zhou et al. 2003: Z = (I − αW)⁻¹Y);
2. the plan of a transport divides the queries among the classes, from Z to the power of `sharpening`;
3. a linear classifier, which starts at the class means, is trained by gradient descent on labelled rows and queries with the
   labels of the plan. A query whose loss is small on average over the steps is likelier to have the right label: the
   `cleanest` of each class are labelled for good.

The rounds end when every query has a label. The classes are taken to have equally many queries.

Differs from the released code: its classifier starts with a random intercept, and here with 0. The transport counts the queries
that are left of each class; where a class has had more than its share, the others share what is left.

Letters in shape comments: E episodes, N ways, S support rows, Q query rows, F = S + Q rows, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, one_hot, parameter
from .joint import ABSENT, Joint
from .transport import balanced

POWER, OFFSET = 0.5, 1e-6  # of the power transform: |x| + offset to the power
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4  # of the gradient descent, in the released code
SMALLEST = 1e-12  # lower bound of what has spread to a row


@dataclass(frozen=True)
class ILPC(Method):
    """iLPC: label propagation, transport, and label cleaning in rounds (Lazarou et al. 2021)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Lazarou, Stathaki and Avrithis 2021, arXiv:2012.07962"

    neighbours: int = parameter(15, "k, nearest neighbours of a row in the graph", minimum=1)
    gamma: float = parameter(3.0, "exponent of the cosine on an edge", above=0)
    alpha: float = parameter(0.8, "how far labels spread over the graph", minimum=0, below=1)
    sharpening: float = parameter(3.0, "tau, exponent of what has spread, before the transport", above=0)
    cleanest: int = parameter(3, "queries of each class that get a label in a round", minimum=1)
    steps: int = parameter(1000, "steps of the classifier whose losses tell clean labels", minimum=1)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The features, and the products of all rows."""
        return 4 * (support + query) * (width + 2 * (support + query))

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the class's part of the query in the transport plan of the round that labelled the query."""
        joint = _transformed(Joint.of(episodes, normalised=False))
        gram, shots = joint.gram(), joint.shots
        spread = self._spreading(gram, joint)  # [E, F, F]
        asked = joint.present[:, 0] > 0  # [E, Q], not labelled yet
        assigned = torch.zeros_like(joint.labels[:, :, :1]).repeat(1, 1, asked.shape[1])  # [E, N, Q]
        scores = torch.zeros_like(assigned)
        has = (joint.absent == 0).to(gram.dtype)  # [E, N, 1]
        share = has * joint.query_count / has.sum(dim=1, keepdim=True)  # [E, N, 1]
        while asked.any():
            labelled = joint.with_queries(assigned)  # [E, N, F]
            reached = torch.bmm(labelled, spread)[..., shots:].clamp(min=SMALLEST)  # [E, N, Q]
            left = (share - assigned.sum(dim=2, keepdim=True)).clamp(min=0)
            sizes = left * (asked.sum(dim=1)[:, None, None] / left.sum(dim=1, keepdim=True).clamp(min=SMALLEST))
            none, waiting = torch.zeros_like(sizes).masked_fill(sizes == 0, ABSENT), asked[:, None].to(gram.dtype)
            plan, _ = balanced(self.sharpening * reached.log() + none, sizes, waiting, torch.zeros_like(sizes))
            found = one_hot(plan.argmax(dim=1), episodes.ways, gram.dtype).transpose(1, 2) * asked[:, None]  # [E, N, Q]
            chosen = self._cleanest(gram, labelled, found, asked, joint)  # [E, Q]
            # With too few for every class, no further round can tell more: all that is left keeps its label.
            last = chosen.sum(dim=1, keepdim=True) < has[..., 0].sum(dim=1, keepdim=True)
            chosen = chosen | (last & asked)
            assigned = assigned + found * chosen[:, None]
            scores = scores + plan * chosen[:, None]
            asked = asked & ~chosen
        return scores.transpose(1, 2)

    def _spreading(self, gram: Tensor, joint: Joint) -> Tensor:
        """(I − αW)⁻¹ of the graph with degrees normalised, symmetric: [E, F, F]."""
        count = gram.shape[1]
        there = torch.cat([joint.labels.sum(dim=1), joint.present[:, 0]], dim=1) > 0  # [E, F]
        far = ~(there[:, :, None] & there[:, None]) | torch.eye(count, dtype=torch.bool, device=gram.device)
        near, places = gram.masked_fill(far, -torch.inf).topk(min(self.neighbours, count - 1), dim=2)  # [E, F, K]
        edges = torch.zeros_like(gram).scatter_(2, places, near.clamp(min=0).pow(self.gamma))
        edges = edges + edges.transpose(1, 2)
        degree = edges.sum(dim=2)
        scale = degree.where(degree > 0, 1).rsqrt()
        system = -self.alpha * scale[:, :, None] * edges * scale[:, None]
        system.diagonal(dim1=1, dim2=2).add_(1)
        return torch.linalg.inv(system.double()).to(gram.dtype)

    def _cleanest(self, gram: Tensor, labelled: Tensor, found: Tensor, asked: Tensor, joint: Joint) -> Tensor:
        """The queries of each class with the smallest loss on average over the training, bool [E, Q]."""
        targets = labelled + torch.cat([torch.zeros_like(joint.labels), found], dim=2)  # [E, N, F]
        loss = self._losses(gram, labelled, targets, joint)[:, None, joint.shots :]
        of_class = loss.masked_fill(found == 0, torch.inf)  # [E, N, Q]
        rank = of_class.argsort(dim=2, stable=True).argsort(dim=2)
        return ((rank < self.cleanest) & (found > 0)).any(dim=1) & asked

    def _losses(self, gram: Tensor, labelled: Tensor, targets: Tensor, joint: Joint) -> Tensor:
        """Mean over the steps of each row's cross-entropy under a classifier of all rows: [E, F].

        The classifier's weights are combinations [E, N, F] of the rows, so that its logits are products with `gram`.
        """
        there = targets.sum(dim=1, keepdim=True)  # [E, 1, F]
        part = there / there.sum(dim=2, keepdim=True)
        weights = joint.averaging(labelled)
        length = (torch.bmm(weights, gram) * weights).sum(dim=2, keepdim=True).clamp(min=SMALLEST).sqrt()
        weights, bias = weights / length, torch.zeros_like(length)  # the class means, of length 1
        logits = torch.bmm(weights, gram)
        # Weights and logits move alike: the gradient's products with the rows are all that a step needs of them.
        state = torch.cat([weights, logits, bias], dim=2)  # [E, N, 2·F + 1]
        velocity, total, rows = torch.zeros_like(state), torch.zeros_like(there), gram.shape[1]
        for step in range(self.steps):
            logarithms = (state[..., rows:-1] + state[..., -1:] + joint.absent).log_softmax(dim=1)
            total -= (logarithms * targets).sum(dim=1, keepdim=True)
            if step == self.steps - 1:
                break
            error = logarithms.exp().sub_(targets).mul_(part)  # [E, N, F]
            gradient = torch.cat([error, torch.bmm(error, gram), error.sum(dim=2, keepdim=True)], dim=2)
            gradient.add_(state, alpha=DECAY)
            velocity = gradient if step == 0 else velocity.mul_(MOMENTUM).add_(gradient)
            state.add_(velocity, alpha=-RATE)
        return total[:, 0] / self.steps


def _transformed(joint: Joint) -> Joint:
    """Powers of the features with their signs, of length 1, centred on all rows of the episode, and of length 1 again."""
    there = torch.cat([joint.labels.sum(dim=1), joint.present[:, 0]], dim=1)[..., None]  # [E, F, 1]
    rows = normalize(joint.rows.sign() * (joint.rows.abs() + OFFSET).pow(POWER), dim=-1) * there
    centre = rows.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    return replace(joint, rows=normalize((rows - centre) * there, dim=-1))
