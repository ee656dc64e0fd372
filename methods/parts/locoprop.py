"""LocoProp-S of a linear layer, for many episodes at once.

Amid, Anil and Warmuth 2022, "LocoProp: Enhancing BackProp via Local Loss Optimization", arXiv:2106.06199.

The layer has weights W, its mini-batch the inputs X, a column each of B images, and the outputs A = W X, whose gradient is
∂L/∂A. For them it gets the target T = A − γ ∂L/∂A. The new weights minimise ½ ‖W X − T‖² + ‖W − W_t‖² / (2 η). The minimum is
W_t − γ ∂L/∂A Xᵀ (X Xᵀ + I / η)⁻¹, which is also

    W_t − γ ∂L/∂A (Xᵀ X + I / η)⁻¹ Xᵀ:

a system of B unknowns in place of as many as there are inputs. With γ = B · learning rate and 1 / η = B · DAMPING · the mean
square of the inputs, the bias's 1 among them, the step is `learning rate` · ∂L/∂A (Xᵀ X / B + damping)⁻¹ Xᵀ.

`benchmark/training/loop/locoprop.py` does the same to the layers of networks.

Differs from the paper: the exact minimum, where the authors' code makes ten steps of RMSProp towards it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .softmax_head import MiniBatch

DAMPING = 1.0  # in mean squares of a layer's inputs; docs/pretraining.md has what others gave


def solved(error: Tensor, batch: MiniBatch) -> Tensor:
    """∂L/∂A (Xᵀ X / B + damping)⁻¹ of a layer with bias, given ∂L/∂A [E, N, B], which is 0 where a place is padding."""
    present = batch.shares.sqrt()  # [E, 1, B], 1 / √B or 0
    moments = torch.bmm(batch.rows, batch.columns).mul_(present.transpose(1, 2)).mul_(present)  # [E, B, B]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    diagonal.add_(DAMPING / (batch.width + 1) * diagonal.sum(dim=1, keepdim=True))
    return torch.linalg.solve_ex(moments, error, left=False).result
