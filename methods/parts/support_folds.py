"""Supports with held-out images, to choose a setting by an episode's support alone.

Fold f holds out shot number f of every class and learns from the others. A class with a single shot has nothing to hold out.
Where every class has a single shot, changed copies of the images are held out. They show whether the learned classifier
survives such changes, and nothing about other images of the class.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .augmentation import pseudo_queries
from .pmf_finetuning import Supports

MOST_FOLDS = 5
COPIES = 4  # copies to hold out where no image can be
FIRST_COPY = 1_000_000  # above the number of any copy to learn from


class Fold(NamedTuple):
    """Supports to learn from, and held-out images [1, H, C, H, W] with labels int64 [H]."""

    supports: Supports
    images: Tensor
    labels: Tensor


def folds_of(supports: Supports, flip: bool) -> list[Fold]:
    """The folds of one episode.

    Args:
        supports: the support of one episode. Its first `MOST_FOLDS` shots are held out, each in its turn.
        flip: whether changed copies may be mirrored.
    """
    labels = supports.labels[0]  # [S]
    same = labels[:, None] == labels  # [S, S]
    shot = same.tril(-1).sum(dim=1)  # [S], number of earlier images of the class
    several = same.sum(dim=1) > 1  # [S]
    if not several.any():
        copies = [pseudo_queries(supports.images, supports.seeds, FIRST_COPY + i, flip) for i in range(COPIES)]
        return [Fold(supports, torch.cat(copies, dim=1), labels.repeat(COPIES))]
    folds = []
    for number in range(min(MOST_FOLDS, int(shot.max()) + 1)):
        held = (shot == number) & several
        rest = supports._replace(images=supports.images[:, ~held], labels=supports.labels[:, ~held])
        folds.append(Fold(rest, supports.images[:, held], labels[held]))
    return folds
