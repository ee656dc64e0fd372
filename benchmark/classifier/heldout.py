"""Holding photos out: every photo is classified once by others, as an episode a fold.

Letters in shape comments: n photos, N classes, F folds, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ...core.errors import UsageError
from ...methods.base import Method
from ...tasks.episodes import ABSENT, EpisodeBatch
from ..evaluation.evaluate import Evaluator
from ..evaluation.source import Source
from ..features.table import FeatureTable

FOLDS = 5  # at most; a class with fewer photos is divided into as many parts as it has
Part: TypeAlias = tuple[np.ndarray, np.ndarray]  # rows to learn from, rows that are held out


@dataclass(frozen=True)
class HeldOut:
    """What was found on photos that were held out.

    Attributes:
        scores: float64 [m, N], of the method.
        labels: int64 [m], true classes.
        distances: float64 [m], to the most similar support photo of the fold: 1 − cosine, 0 to 2.
        wider: variance of the accuracy over that of m photos held out at random for one classifier (`wider_of`).
    """

    scores: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    wider: float

    @property
    def accuracy(self) -> float:
        """Share of the photos whose class has the highest score; NaN without any."""
        return float((self.scores.argmax(axis=1) == self.labels).mean()) if len(self.labels) else float("nan")


def hold_out(
    method: Method,
    name: str,
    features: Tensor,
    labels: np.ndarray,
    same: Sequence[int],
    learned: nn.Module | None = None,
    shots: int | None = None,
) -> HeldOut:
    """Classify every photo by photos of other folds. A class with one photo, or with copies of one, is never held out.

    Args:
        method: on features.
        name: of the method, in messages.
        features: float [n, D].
        labels: int64 [n], 0 … N − 1.
        same: int [n], equal for photos that are copies of each other; these stay together.
        learned: what the method learned beside the backbone.
        shots: photos of each class to classify by; None: all that are not held out.

    Raises:
        UsageError: a class has fewer than twice as many photos as `shots`.
        UserError: the method fails.
    """
    parts = _by_all_others(folds_of(labels, same)) if shots is None else _by_shots(labels, same, shots)
    ways = int(labels.max()) + 1
    if not parts:
        return HeldOut(np.empty((0, ways)), labels[:0], np.empty(0), 1.0)
    table = FeatureTable.of(features.cpu().numpy(), features.device)
    evaluator = Evaluator(method, Source(features.device, table=table, learned=learned), name)
    scores, _ = next(evaluator.score(_tasks(parts, labels, ways)))  # all folds at once
    return HeldOut(
        scores=np.concatenate([one[: len(held)].double().cpu().numpy() for one, (_, held) in zip(scores, parts, strict=True)]),
        labels=np.concatenate([labels[held] for _, held in parts]),
        distances=np.concatenate([nearest(*(features[torch.from_numpy(rows)] for rows in pair)) for pair in parts]),
        wider=wider_of(parts),
    )


def wider_of(parts: Sequence[Part]) -> float:
    """How much folds widen the variance of an accuracy beyond that of as many photos held out at random for one classifier.

    What the photos of a fold are classified by is chosen once for all of them; other photos to learn from would teach a little
    more or less. Nadeau and Bengio (2003, "Inference for the generalization error", Machine Learning 52) give F folds with m
    photos held out and s to learn from, in the mean, the variance 1/F + m/s of a fold's, where apart they would have 1/F.
    """
    support, held = (sum(len(pair[which]) for pair in parts) for which in (0, 1))
    return 1 + len(parts) * held / support


def _by_all_others(folds: np.ndarray) -> list[Part]:
    return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]


def _by_shots(labels: np.ndarray, same: Sequence[int], shots: int) -> list[Part]:
    """As many folds as leave each `shots` different photos of every class, which classify the photos of the next fold."""
    classes = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    groups = np.asarray(same)
    fewest = min(len(np.unique(groups[mine])) for mine in classes)
    if fewest < 2 * shots:
        raise UsageError(
            f"--shots {shots}: a class has {fewest} different photos; {2 * shots} or more of each leave some to be held out"
        )
    folds = folds_of(labels, same, fewest // shots)
    parts = []
    for fold in range(folds.max() + 1):
        support = []
        for mine in classes:
            here = mine[folds[mine] == fold]
            _, first = np.unique(groups[here], return_index=True)  # one of each photo and its copies
            support.append(here[first][:shots])
        parts.append((np.concatenate(support), np.flatnonzero(folds == (fold + 1) % (folds.max() + 1))))
    return parts


def _tasks(parts: Sequence[Part], labels: np.ndarray, ways: int) -> EpisodeBatch:
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


def folds_of(labels: np.ndarray, same: Sequence[int], most: int = FOLDS) -> np.ndarray:
    """The fold of every photo: int64 [n], 0 … F − 1, or −1 where it is never held out. A pure function of its arguments.

    There are `most` folds, or fewer where every class has fewer photos.

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
            folds[mine[groups[mine] == group]] = place % min(most, len(distinct))
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
    return (1 - cosine.amax(dim=1).double()).clamp(min=0).cpu().numpy()  # rounding takes a cosine above 1
