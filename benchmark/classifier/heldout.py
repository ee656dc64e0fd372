"""Holding photos out: every photo is classified once by the others of its class, as an episode a fold.

Letters in shape comments: n photos, N classes, F folds, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ...methods.base import Method
from ...tasks.episodes import ABSENT, EpisodeBatch
from ..evaluation.evaluate import Evaluator
from ..evaluation.source import Source
from ..features.table import FeatureTable

FOLDS = 5  # at most; a class with fewer photos is divided into as many parts as it has


@dataclass(frozen=True)
class HeldOut:
    """What was found on photos that were held out.

    Attributes:
        scores: float64 [m, N], of the method.
        labels: int64 [m], true classes.
        distances: float64 [m], to the most similar support photo of the fold: 1 − cosine, 0 to 2.
    """

    scores: np.ndarray
    labels: np.ndarray
    distances: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the photos whose class has the highest score; NaN without any."""
        return float((self.scores.argmax(axis=1) == self.labels).mean()) if len(self.labels) else float("nan")


def hold_out(
    method: Method, name: str, features: Tensor, labels: np.ndarray, same: Sequence[int], learned: nn.Module | None = None
) -> HeldOut:
    """Classify every photo by photos of other folds. A class with one photo, or with copies of one, is never held out.

    Args:
        method: on features.
        name: of the method, in messages.
        features: float [n, D].
        labels: int64 [n], 0 … N − 1.
        same: int [n], equal for photos that are copies of each other; these stay together.
        learned: what the method learned beside the backbone.

    Raises:
        UserError: the method fails.
    """
    folds = folds_of(labels, same)
    parts = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    ways = int(labels.max()) + 1
    if not parts:
        return HeldOut(np.empty((0, ways)), labels[:0], np.empty(0))
    table = FeatureTable.of(features.cpu().numpy(), features.device)
    evaluator = Evaluator(method, Source(features.device, table=table, learned=learned), name)
    scores, _ = next(evaluator.score(_tasks(parts, labels, ways)))  # all folds at once
    return HeldOut(
        scores=np.concatenate([one[: len(held)].double().cpu().numpy() for one, (_, held) in zip(scores, parts, strict=True)]),
        labels=np.concatenate([labels[held] for _, held in parts]),
        distances=np.concatenate([nearest(*(features[torch.from_numpy(rows)] for rows in pair)) for pair in parts]),
    )


def _tasks(parts: Sequence[tuple[np.ndarray, np.ndarray]], labels: np.ndarray, ways: int) -> EpisodeBatch:
    """An episode a fold, padded where folds differ in size."""

    def padded(which: int, content: np.ndarray, padding: int) -> np.ndarray:
        rows = [content[pair[which]] for pair in parts]
        longest = max(map(len, rows))
        return np.stack([np.pad(row, (0, longest - len(row)), constant_values=padding) for row in rows]).astype(np.int64)

    index = np.arange(len(labels))
    return EpisodeBatch(
        support=padded(0, index, 0),
        support_labels=padded(0, labels, ABSENT),
        query=padded(1, index, 0),
        query_labels=padded(1, labels, ABSENT),
        classes=np.tile(np.arange(ways, dtype=np.int64), (len(parts), 1)),
        index=np.arange(len(parts), dtype=np.int64),
    )


def folds_of(labels: np.ndarray, same: Sequence[int]) -> np.ndarray:
    """The fold of every photo: int64 [n], 0 … F − 1, or −1 where it is never held out. A pure function of its arguments.

    The photos of a class are dealt in a shuffled order, copies together, so that every fold leaves the class some photos.
    """
    groups, folds = np.asarray(same), np.full(len(labels), -1)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        distinct = np.unique(groups[mine])
        if len(distinct) < 2:
            continue
        order = np.random.default_rng(int(label)).permutation(distinct)
        for place, group in enumerate(order):
            folds[mine[groups[mine] == group]] = place % min(FOLDS, len(distinct))
    return folds


def task_of(
    support: np.ndarray, support_labels: np.ndarray, query: np.ndarray, query_labels: np.ndarray, ways: int
) -> EpisodeBatch:
    """One episode with all classes, as a batch."""
    return EpisodeBatch(
        support=support[None].astype(np.int64),
        support_labels=support_labels[None].astype(np.int64),
        query=query[None].astype(np.int64),
        query_labels=query_labels[None].astype(np.int64),
        classes=np.arange(ways, dtype=np.int64)[None],
        index=np.zeros(1, np.int64),
    )


def nearest(support: Tensor, query: Tensor) -> np.ndarray:
    """1 − cosine from every query [q, D] to the most similar support row [s, D]: float64 [q], 0 to 2."""
    cosine = normalize(query.float(), dim=1) @ normalize(support.float(), dim=1).T
    return (1 - cosine.amax(dim=1).double()).cpu().numpy()
