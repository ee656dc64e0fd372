"""Factors of the covariances of train classes: computed once for each class, and kept with the classes.

A class has n features around its mean, the rows of X. Its covariance is XᵀX/(n − 1), and so is RᵀR/(n − 1), where X = QR with
orthonormal Q. R has no more than D rows, and zeros below its diagonal.

Letters in shape comments: D feature width, R rows of a factor, S drawn features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...tasks.episodes import TrainClasses

KEPT = 2**29  # bytes of factors; beyond, those that were made first go
BLOCK = 128  # columns of a product that are computed at once: narrow enough to leave most zeros out, and wide enough to be fast


def factor_of(train: TrainClasses, number: int, dtype: torch.dtype) -> Tensor:
    """The factor F [R, D] of a class's covariance FᵀF, with zeros below its diagonal; R is the lesser of images and D.

    Args:
        train: the train classes.
        number: of the class.
        dtype: of the factor.
    """
    key = number, dtype
    if key not in train.factors:
        features = train.features_of(number).to(dtype)  # [n, D]
        scale = max(1, len(features) - 1) ** -0.5
        factor = torch.linalg.qr((features - train.means[number].to(dtype)) * scale, mode="r").R
        while train.factors and sum(kept.nbytes for kept in train.factors.values()) + factor.nbytes > KEPT:
            del train.factors[next(iter(train.factors))]
        train.factors[key] = factor
    return train.factors[key]


def add_product(drawn: Tensor, normal: Tensor, factor: Tensor, scale: float) -> None:
    """Add scale · normal [S, R] · factor [R, D] to drawn [S, D], in place, without the products with most of the zeros."""
    for start in range(0, drawn.shape[1], BLOCK):
        end = min(start + BLOCK, drawn.shape[1])
        there = min(end, len(factor))
        drawn[:, start:end].addmm_(normal[:, :there], factor[:there, start:end], alpha=scale)
