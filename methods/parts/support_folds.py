"""Supports with some of their images held out, to choose a setting by an episode's support alone.

Shot-wise: in fold f the shot number f of every class is held out, and the others are learned from. A class with a single shot
has nothing to hold out. Where no class has two, changed copies of the images stand in for images that are not there: they say
whether what was learned survives such a change, and nothing about other images of the class.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .augmentation import pseudo_queries
from .pmf_finetuning import Supports

MOST_FOLDS = 5
COPIES = 4  # that are held out where there are no images to hold out
FIRST_COPY = 1_000_000  # no copy that is learned from has such a number


class Fold(NamedTuple):
    """What is learned from, and what is held out: images [1, H, C, H, W] with labels int64 [H]."""

    supports: Supports
    images: Tensor
    labels: Tensor


def folds_of(supports: Supports, flip: bool) -> list[Fold]:
    """The folds of one episode.

    Args:
        supports: of one episode; at most its first `MOST_FOLDS` shots are held out, each in its turn.
        flip: whether changed copies may be mirrored.
    """
    labels = supports.labels[0]  # [S]
    same = labels[:, None] == labels  # [S, S]
    shot = same.tril(-1).sum(dim=1)  # [S], how many of its class come before
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
