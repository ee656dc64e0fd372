"""Features in coordinates of the support's span: few numbers in place of a wide feature.

Letters in shape comments: E episodes, S support rows, D feature width, R = min(S, D) coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reduced(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Express rows [E, S, D] in an orthonormal basis of their span: coordinates [E, S, R] and basis [E, D, R]."""
    basis, triangle = torch.linalg.qr(rows.transpose(1, 2))  # [E, D, R], [E, R, S]
    return triangle.transpose(1, 2).contiguous(), basis
