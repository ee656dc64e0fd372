"""Further images of an episode's classes, beside those that it has already."""

from __future__ import annotations

import numpy as np

from ...core.random_streams import Purpose, distinct, words
from ..episodes import EpisodeBatch


def further_images(batch: EpisodeBatch, offsets: np.ndarray, seed: int, purpose: Purpose, count: int) -> np.ndarray:
    """Draw images of each class that the episode does not have, without replacement.

    The j-th image of a class does not depend on the count, so that smaller draws are the beginning of larger ones.

    Args:
        batch: consecutive episodes without padded classes.
        offsets: int64 [C + 1], as of a `Sampler`.
        seed: of the task.
        purpose: the stream of random numbers.
        count: number of images of each class, X.

    Returns:
        Rows, int64 [E, N, X]. Where a class has fewer images left, the caller must ignore the rows beyond them.
    """
    episodes, ways = batch.classes.shape
    first = offsets[batch.classes]  # [E, N]
    sizes = offsets[batch.classes + 1] - first
    rows = np.concatenate([batch.support, batch.query], axis=1)[:, None]  # [E, 1, S + Q]
    places = rows - first[..., None]  # [E, N, S + Q], places within the class
    mine = (places >= 0) & (places < sizes[..., None])
    taken = np.sort(np.where(mine, places, sizes[..., None]), axis=2)  # those of the class, then its size for all others
    left = sizes - mine.sum(axis=2)  # [E, N]
    start, stop = int(batch.index[0]), int(batch.index[-1]) + 1
    steps = [words(seed, purpose, step, start, stop, ways) for step in range(count)]
    image_words = np.stack(steps) if steps else np.empty((0, episodes, ways), np.uint32)
    drawn = distinct(image_words.reshape(count, episodes * ways), left.reshape(-1)).astype(np.int64)
    found = drawn.reshape(count, episodes, ways).transpose(1, 2, 0)  # [E, N, X], places among the images that are left
    for known in range(int(mine.sum(axis=2).max(initial=0))):
        found = found + (found >= taken[..., known : known + 1])  # in this order: each image that is taken moves what is above
    return found.clip(max=sizes[..., None] - 1) + first[..., None]
