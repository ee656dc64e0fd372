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
from ...tasks.episodes import EpisodeBatch
from ..evaluation.evaluate import Evaluator, Source
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
    table = FeatureTable.of(features.cpu().numpy(), features.device)
    evaluator = Evaluator(method, Source(features.device, table=table, learned=learned), name)
    scores, truth, distances = [], [], []
    for fold in range(folds.max() + 1):
        kept, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found, _ = evaluator.score(task_of(kept, labels[kept], held, labels[held], labels.max() + 1))
        scores.append(found[0].double().cpu().numpy())
        truth.append(labels[held])
        distances.append(nearest(features[torch.from_numpy(kept)], features[torch.from_numpy(held)]))
    empty = np.empty((0, int(labels.max()) + 1))
    return HeldOut(np.concatenate([empty, *scores]), np.concatenate([labels[:0], *truth]), np.concatenate([[], *distances]))


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
