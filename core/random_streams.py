"""Random numbers as a pure function of (seed, purpose, step, episode index), and draws without replacement from them.

The generator is Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): its output at a counter can be
computed without the earlier outputs, so that any slice of the episodes can be drawn alone.
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np

WORDS_PER_BLOCK = 8  # one Philox4x64 counter gives four 64-bit words, used here as eight of 32 bits


@unique
class Purpose(IntEnum):
    """The purposes for which `words` are drawn under the user's seed; each has a stream of its own.

    A new number at the end is safe. A changed number changes every published episode or every training. (Images that
    are rendered here have fixed seeds and numbers of their own.)
    """

    CLASSES = 0  # of an episode
    QUERIES = 1  # images
    SUPPORT = 2  # images
    SHAPE = 3  # ways and shots, where episodes vary
    SHARES = 4  # of the classes in a support set, where they vary
    EPISODE_SEEDS = 5  # the seeds of a method's own random numbers
    DISJOINT = 6  # a split into images that no two episodes share
    CORRUPTION = 7  # of an image, where it is random
    QUERY_SHARES = 8  # of the classes among the queries, where they vary
    FURTHER_QUERIES = 9  # images beyond those of the balanced episode
    LABEL_NOISE = 10  # of the support
    UNLABELLED = 11  # images of an episode's classes
    DISTRACTORS = 12  # classes that an episode does not have, and their images
    ACQUISITION = 13  # which unlabelled images get a label
    PROBE = 32  # images that readouts are fitted to and tested on
    VIEWS = 33  # of an image that is classified
    STEP = 64  # of a training: augmentation
    ORDER = 65  # of the images in an epoch
    DROPOUT = 66  # seeds of torch's own generators before a step of a training
    COMPANIONS = 67  # images of a class that a step takes together
    WEAK_LABELS = 68  # of train images


def words(seed: int, purpose: int, step: int, start: int, stop: int, width: int) -> np.ndarray:
    """Random 32-bit words for episodes `start` to `stop`.

    Args:
        seed: the task's seed, 0 ≤ seed < 2⁶⁴.
        purpose: use of the words (`Purpose`); different purposes are independent streams.
        step: a further number of independent streams within the purpose.
        start: first episode.
        stop: one past the last episode.
        width: number of words for each episode.

    Returns:
        uint32 [stop − start, width]; row i depends only on (seed, purpose, step, start + i, width).
    """
    blocks = -(-width // WORDS_PER_BLOCK)
    key = np.array([seed, (purpose << 32) | step], dtype=np.uint64)
    raw = np.random.Philox(key=key).advance(start * blocks).random_raw((stop - start) * blocks * 4)
    # '<u8' fixes the order of the two halves on machines of either byte order.
    return raw.astype("<u8", copy=False).view("<u4").reshape(stop - start, blocks * WORDS_PER_BLOCK)[:, :width]


def uniform(random_words: np.ndarray) -> np.ndarray:
    """Map 32-bit words to float64 in (0, 1]. The smallest value is 2⁻³², so that a logarithm or a ceiling is safe."""
    return (random_words.astype(np.float64) + 1.0) * 2.0**-32


def bounded(random_words: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
    """Map 32-bit words to integers 0 … bound − 1 (multiply and shift; the bias is below bound · 2⁻³²)."""
    return ((random_words.astype(np.uint64) * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def distinct(random_words: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Draw without replacement: the first J entries of a Fisher-Yates shuffle of 0 … size − 1, many shuffles at once.

    Args:
        random_words: uint32 [J, M]; row j decides the j-th draw of each of M shuffles.
        sizes: int [M], each at least J. Where a size is smaller, the caller must ignore the draws beyond it.

    Returns:
        int32 [J, M], distinct within each column. The first rows do not depend on later words, so that draws nest.
    """
    draws, columns = random_words.shape
    if not draws:
        return np.empty((0, columns), dtype=np.int32)
    sizes = np.asarray(sizes, dtype=np.int64)
    if columns and (sizes == sizes[0]).all():
        sizes = sizes[:1]  # the common case, four times less arithmetic
    steps = np.arange(draws, dtype=np.int64)[:, None]
    remaining = np.maximum(sizes - steps, 1)
    partners = (steps + bounded(random_words, remaining)).astype(np.int32)
    largest = max(int(np.max(sizes, initial=0)), draws)
    # A shuffle of the whole range costs `largest` steps, remembering only the swaps costs draws². Both give the same numbers.
    remember = draws * draws < largest
    chunk = 2**14 if remember else max(1, 2**20 // largest)  # columns at a time, so that the work stays in the cache
    drawn = np.empty_like(partners)
    for i in range(0, columns, chunk):
        piece = np.ascontiguousarray(partners[:, i : i + chunk])
        drawn[:, i : i + chunk] = _shuffle_by_remembering_swaps(piece) if remember else _shuffle_whole(piece, largest)
    return drawn


def _shuffle_whole(partners: np.ndarray, largest: int) -> np.ndarray:
    draws, columns = partners.shape
    deck = np.empty((columns, largest), dtype=np.uint16 if largest <= 2**16 else np.int32)
    deck[:] = np.arange(largest, dtype=deck.dtype)
    cards = deck.reshape(-1)
    first = np.arange(columns, dtype=np.int64) * largest
    drawn = np.empty((draws, columns), dtype=np.int32)
    for j in range(draws):
        partner = first + partners[j]
        drawn[j] = cards[partner]
        cards[partner] = cards[first + j]
    return drawn


def _shuffle_by_remembering_swaps(partners: np.ndarray) -> np.ndarray:
    drawn = partners.copy()  # a place that no earlier swap touched holds its own number
    moved = np.empty_like(partners)  # moved[j]: the card that step j put into the place from which it drew
    for j in range(len(partners)):
        moved[j] = j
        for earlier in range(j):  # in this order, since the last swap at a place counts
            np.copyto(drawn[j], moved[earlier], where=partners[earlier] == partners[j])
            np.copyto(moved[j], moved[earlier], where=partners[earlier] == j)
    return drawn
