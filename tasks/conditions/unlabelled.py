"""Images without labels, of an episode's classes and of distractors.

Ren et al. 2018, "Meta-learning for semi-supervised few-shot classification", arXiv:1803.00676.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.errors import UsageError
from ...core.random_streams import Purpose, distinct, words
from ..episodes import EpisodeBatch
from .further_images import further_images


def with_unlabelled(batch: EpisodeBatch, offsets: np.ndarray, seed: int, images: int, distractors: int) -> EpisodeBatch:
    """Add images without labels, none of which the episode has already.

    The images of few are among those of more, and those of the episode's classes do not depend on the distractors.

    Args:
        batch: consecutive episodes without padded classes.
        offsets: int64 [C + 1], as of a `Sampler`.
        seed: of the task.
        images: of each class of the episode, and of each distractor.
        distractors: classes that the episode does not have.

    Returns:
        The same episodes, with `unlabelled` int64 [E, images · (N + distractors)]: the first image of every class, then the
        second, and so on.

    Raises:
        UsageError: a class has too few images, or the split too few classes.
    """
    sizes, ways = np.diff(offsets), batch.classes.shape[1]
    labels = np.concatenate([batch.support_labels, batch.query_labels], axis=1)
    left = sizes[batch.classes] - (labels[..., None] == np.arange(ways)).sum(axis=1)  # [E, N]
    fewest = min(int(left.min()), int(sizes.min()))
    if images > fewest:
        raise UsageError(f"--unlabelled {images}: a class of this split has {fewest} beside support and queries; take fewer")
    if distractors > len(sizes) - ways:
        raise UsageError(f"--distractors {distractors}: there are {len(sizes) - ways} classes beside the {ways} of an episode")
    mine = further_images(batch, offsets, seed, Purpose.UNLABELLED, images)  # [E, N, images]
    nothing = np.zeros((len(batch), 0), np.int64)
    others = replace(batch, classes=_others(batch, len(offsets) - 1, seed, distractors), support=nothing, query=nothing)
    theirs = further_images(others, offsets, seed, Purpose.DISTRACTORS, images)
    rows = np.concatenate([mine, theirs], axis=1).transpose(0, 2, 1)  # [E, images, N + distractors]
    return replace(batch, unlabelled=rows.reshape(len(batch), -1))


def _others(batch: EpisodeBatch, classes: int, seed: int, count: int) -> np.ndarray:
    """Classes that an episode does not have, without replacement: int64 [E, count]."""
    start, stop = int(batch.index[0]), int(batch.index[-1]) + 1
    steps = [words(seed, Purpose.DISTRACTORS, 2**16 + step, start, stop, 1) for step in range(count)]  # images have lower steps
    if not steps:
        return np.zeros((len(batch), 0), np.int64)
    taken = np.sort(batch.classes, axis=1)  # [E, N]
    left = np.full(len(batch), classes - taken.shape[1])
    found = distinct(np.stack(steps)[..., 0], left).T.astype(np.int64)  # [E, count], places among the classes that are left
    for known in range(taken.shape[1]):
        found = found + (found >= taken[:, known : known + 1])
    return found
