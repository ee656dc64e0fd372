"""Support labels that are wrong with some probability.

The kinds are those of learning from noisy labels, such as Han et al. 2018, "Co-teaching", arXiv:1804.06872: symmetric flips go
to any other class alike, pair flips to the next one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.random_streams import Purpose, bounded, uniform, words
from ..episodes import ABSENT, EpisodeBatch
from .conditions import NoiseKind

TOGETHER = 4  # support places whose random words are drawn at once


def with_noise(batch: EpisodeBatch, seed: int, probability: float, kind: NoiseKind) -> EpisodeBatch:
    """Flip the labels of support images at random; images and classes stay.

    The flips of a lower probability are among those of a higher one, and those of few shots among those of more. A class that
    would be left without any image keeps its first image's label, since no method could know the class.

    Args:
        batch: consecutive episodes; padding is at the end.
        seed: of the task.
        probability: of a flip.
        kind: which class takes the place of the true one.
    """
    labels, ways = batch.support_labels, batch.classes.shape[1]
    width = labels.shape[1]
    present = (batch.classes != ABSENT).sum(axis=1)[:, None]  # [E, 1]
    start, stop = int(batch.index[0]), int(batch.index[-1]) + 1
    steps = range(-(-width // TOGETHER))
    drawn = np.concatenate([words(seed, Purpose.LABEL_NOISE, step, start, stop, 2 * TOGETHER) for step in steps], axis=1)
    step = 1 if kind == "pair" else 1 + bounded(drawn[:, 1 : 2 * width : 2], present - 1)
    flipped = (uniform(drawn[:, : 2 * width : 2]) <= probability) & (labels != ABSENT)
    noisy = np.where(flipped, (labels + step) % present, labels)
    if width == 0:
        return batch
    classes = np.arange(ways)
    has = labels[..., None] == classes  # [E, S, N]
    first, shown = has.argmax(axis=1), has.any(axis=1)  # [E, N], the place of each class's first image, if it has one
    for _ in range(ways):  # a label that is put right may be the only one of the class that it had
        lost = shown & ~(noisy[..., None] == classes).any(axis=1)
        if not lost.any():
            break
        episode, label = np.nonzero(lost)
        noisy[episode, first[episode, label]] = label
    return replace(batch, support_labels=noisy)
