"""Queries that are not balanced: their classes follow a Dirichlet distribution.

Veilleux, Boudiaf, Piantanida and Ben Ayed 2021, "Realistic evaluation of transductive few-shot learning", arXiv:2204.11181.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.errors import UserError
from ...core.random_streams import Purpose, words
from ..dirichlet import log_shares
from ..episodes import EpisodeBatch
from .further_images import further_images


def with_shares(batch: EpisodeBatch, offsets: np.ndarray, seed: int, concentration: float, reserve: int = 0) -> EpisodeBatch:
    """Divide the queries of each episode among its classes at random; their total stays.

    A class begins with its queries of the clean episode, and has further images where it needs more than these. One class may
    get all queries of an episode, so that each needs so many images: shares that were cut to what a class has would be others
    than the concentration says.

    Args:
        batch: consecutive episodes with equally many queries of each class.
        offsets: int64 [C + 1], as of a `Sampler`.
        seed: of the task.
        concentration: of the symmetric Dirichlet distribution; the paper takes 2.
        reserve: images of each class that no query takes.

    Returns:
        Episodes with the same classes and support. A class may have no query.

    Raises:
        UserError: the classes of an episode have unequal numbers of queries, or a class of the split too few images.
    """
    episodes, ways = batch.classes.shape
    total = batch.query.shape[1]
    each = total // ways
    if ((batch.query_labels[..., None] == np.arange(ways)).sum(axis=1) != each).any():
        raise UserError("--query-balance: the classes of these episodes have unequal numbers of queries already")
    _check_room(np.diff(offsets), batch.support.shape[1] // ways, reserve, total, ways)
    start, stop = int(batch.index[0]), int(batch.index[-1]) + 1
    drawn = log_shares(words(seed, Purpose.QUERY_SHARES, 0, start, stop, 2 * ways), concentration)  # [E, N]
    counts = shared_out(total, drawn)
    by_class = np.argsort(batch.query_labels, axis=1, kind="stable")
    clean = np.take_along_axis(batch.query, by_class, axis=1).reshape(episodes, ways, each)
    more = max(0, int(counts.max(initial=0)) - each)
    pool = np.concatenate([clean, further_images(batch, offsets, seed, Purpose.FURTHER_QUERIES, more)], axis=2)  # [E, N, P]
    chosen = (np.arange(pool.shape[2])[:, None] < counts[:, None]).reshape(episodes, -1)  # [E, P · N], shot-major
    labels = np.broadcast_to(np.tile(np.arange(ways), pool.shape[2]), chosen.shape)
    query, query_labels = (
        rows[chosen].reshape(episodes, total) for rows in (pool.transpose(0, 2, 1).reshape(episodes, -1), labels)
    )
    return replace(batch, query=query, query_labels=query_labels)


def _check_room(sizes: np.ndarray, shots: int, reserve: int, total: int, ways: int) -> None:
    smallest = int(sizes.min())
    room = smallest - shots - reserve
    if total > room:
        most = room // ways
        cure = f"take at most --queries {most}" if most > 0 else "take fewer --shots or --ways"
        raise UserError(
            f"--query-balance may give one class all {total} queries of an episode, and a class of this split has {smallest} "
            f"images, of which {max(room, 0)} are left beside shots and unlabelled images; {cure}"
        )


def shared_out(total: int, log_parts: np.ndarray) -> np.ndarray:
    """Round shares of a total to whole numbers with the same total, by the largest remainders.

    The paper's code rounds each share, and then rounds those with a remainder nearest to ½ the other way until the total is
    right, which gives the same numbers.

    Args:
        total: a number.
        log_parts: logarithms of the shares up to a constant of each episode, [E, N].

    Returns:
        int64 [E, N].
    """
    parts = np.exp(log_parts - log_parts.max(axis=1, keepdims=True))
    exact = total * parts / parts.sum(axis=1, keepdims=True)  # [E, N]
    counts = np.floor(exact).astype(np.int64)
    missing = total - counts.sum(axis=1, keepdims=True)
    rank = np.argsort(np.argsort(counts - exact, axis=1, kind="stable"), axis=1)  # 0: the largest remainder
    return counts + (rank < missing)
