"""Constrained instance reweighting: a linear classifier that trusts images of small loss.

Kumar and Amid 2021, "Constrained instance and class reweighting for robust learning under label noise", arXiv:2111.05428.

Where labels may be wrong, an image of high loss is likelier to have a wrong one. In every step of the training the images of
the mini-batch have the weights that make the weighted loss smallest among all that are near to equal ones. With nearness by the
Kullback-Leibler divergence these are in proportion to exp(−loss/λ), which become equal for a large λ. All else is the training
of Baseline (Chen et al. 2019), on features of a frozen backbone.

Differs from the paper: it trains a whole network; here a layer is trained on an episode's support, in mini-batches of 4. Of the
paper's divergences this is the Kullback-Leibler one, without class weights and mixup. The default of λ is the best of four on
trifeature's val classes with 20 and 40 % of symmetric flips. Larger mini-batches need a larger λ: in one with all images of a
5-shot support, 0.3 leaves the class with the smallest loss alone with all the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import parameter
from ..parts.softmax_head import MiniBatch
from .baseline import Baseline


@dataclass(frozen=True)
class CIW(Baseline):
    """Constrained instance reweighting: a linear classifier for wrong labels (Kumar and Amid 2021)."""

    citation: ClassVar[str] = "Kumar and Amid 2021, arXiv:2111.05428"

    temperature: float = parameter(0.3, "lambda, how near to equal the weights of the images stay; large is nearer", above=0)

    def error(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """u·(softmax(Wx) − y) of each row, with the weights u of the images."""
        logarithms = torch.baddbmm(batch.absent, weights, batch.columns).log_softmax(dim=1)  # [E, N, B]
        loss = -(logarithms.clamp(min=torch.finfo(logarithms.dtype).min) * batch.targets).sum(dim=1, keepdim=True)  # [E, 1, B]
        trust = (-loss / self.temperature).masked_fill(batch.shares == 0, -torch.inf).softmax(dim=2)
        return logarithms.exp().sub_(batch.targets).mul_(trust)
