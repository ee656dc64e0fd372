"""Adam with decoupled weight decay, for the inner loops of methods.

Written by hand for a fast start, and for tensors that hold the weights of many episodes; see below.

Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101.
With gradient g, learning rate η, weight decay λ, step t from 1, β₁ = 0.9, β₂ = 0.999, ε = 1e-8:

    m ← β₁·m + (1 − β₁)·g,   v ← β₂·v + (1 − β₂)·g²
    w ← (1 − η·λ)·w − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

The result is that of torch.optim.AdamW (and of Adam, where λ is 0). But the first step of AdamW imports torch's compiler, which
takes 1.6 s, longer than a run on features. The update works on each number by itself, so that one tensor may hold the weights
of many episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """An optimiser that moves tensors in place, and keeps their moments."""

    def __init__(self, tensors: Sequence[Tensor], learning_rates: Sequence[float], weight_decay: float = 0.0) -> None:
        """Start with moments of zero.

        Args:
            tensors: contiguous; may require grad.
            learning_rates: one for each tensor.
            weight_decay: λ, for all tensors.
        """
        self.tensors, self.learning_rates, self.weight_decay = tensors, learning_rates, weight_decay
        self.first = [torch.zeros_like(tensor, requires_grad=False) for tensor in tensors]
        self.second = [torch.zeros_like(tensor, requires_grad=False) for tensor in tensors]
        self.scratch = [torch.empty_like(tensor, requires_grad=False) for tensor in tensors]
        self.steps = [0 for _ in tensors]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Move every tensor that has a gradient; None leaves one as it is, and is no step of it."""
        columns = zip(self.tensors, gradients, self.first, self.second, self.scratch, self.learning_rates, strict=True)
        for number, (tensor, gradient, first, second, scratch, rate) in enumerate(columns):
            if gradient is None:
                continue
            self.steps[number] += 1
            steps = self.steps[number]
            # η·m̂/(√v̂ + ε) = (η·√c₂/c₁) · m/(√v + √c₂·ε) with c = 1 − βᵗ: the corrections need no additional pass over memory.
            root = math.sqrt(1 - SECOND_DECAY**steps)
            if self.weight_decay:
                tensor.mul_(1 - rate * self.weight_decay)
            first.lerp_(gradient, 1 - FIRST_DECAY)
            second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
            torch.sqrt(second, out=scratch).add_(root * EPSILON)
            tensor.addcdiv_(first, scratch, value=-rate * root / (1 - FIRST_DECAY**steps))
