"""Which method to take for a user's photos: every suitable one classifies photos that are held out.

Letters in shape comments: n photos, N classes, E episodes, D feature width.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import UsageError, UserError
from ...core.progress import SILENT, Progress
from ...methods.base import Method
from ...tasks.episodes import EpisodeBatch
from .. import registry
from ..config import RunConfig
from ..evaluation.evaluate import Evaluator
from ..evaluation.source import Source
from ..features.table import FeatureTable
from ..records.ranking import RankRange, better_than, rank_ranges
from ..records.statistics import Interval, t_interval
from .calibration import promised
from .fitting import Encoded, Parts, best_choice, classes_of, folder_of, parts_of, photos_of
from .heldout import HeldOut

SHOTS = (1, 2, 3, 5, 10, 15, 20, 30, 50, 100)
DRAWS, QUERIES = 200, 5  # episodes a number of shots, and queries a class in each
# baseline and baseline++ take minutes and find what linear-probe finds; ciw is for wrong labels, self-training for images
# without any, dp-linear-probe for privacy; chance finds nothing.
SKIPPED = ("baseline", "baseline++", "ciw", "self-training", "dp-linear-probe", "chance")
LEAST = 10  # photos that must be held out for a comparison


@dataclass(frozen=True)
class Candidate:
    """A method that was tried.

    Attributes:
        parts: the method as a user names it, and the backbone.
        method: with its "auto" parameters decided.
        held: what it said of held-out photos.
        ranks: that paired t-tests on the same photos leave open.
        milliseconds: to classify a photo, without encoding it.
    """

    parts: Parts
    method: Method
    held: HeldOut
    ranks: RankRange
    milliseconds: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of its accuracy on new photos."""
        return promised(self.held.accuracy, len(self.held.labels), self.held.wider)


@dataclass(frozen=True)
class Recommendation:
    """What was found on a user's photos.

    Attributes:
        photos: that were encoded.
        candidates: the best first.
        curve: accuracy of the best at rising numbers of photos a class, over all classes at once.
        confusions: (class, taken for, how many) of the best, most frequent first.
    """

    photos: Encoded
    candidates: tuple[Candidate, ...]
    curve: tuple[tuple[int, Interval], ...]
    confusions: tuple[tuple[str, str, int], ...]


def recommend(
    config: RunConfig, methods: Sequence[str] = (), progress: Progress = SILENT, shots: int | None = None
) -> Recommendation:
    """Try methods on a folder of photos.

    Args:
        config: the photos, and a backbone with its weights.
        methods: names; empty takes every method that answers from features alone and needs no training.
        progress: shows what is tried.
        shots: photos of each class to classify by; None: four fifths of them.

    Raises:
        UsageError: a method cannot be fitted, or none can, or a class has fewer than twice as many photos as `shots`.
        UserError: there are too few photos to hold ten out, or one cannot be read.
    """
    dataset = folder_of(config)
    ways = len(classes_of(dataset))
    parts = [parts_of(replace(config, method=name), dataset, ways, progress) for name in methods] or _suitable(config, ways)
    photos = photos_of(dataset, parts[0], progress)
    tried: list[tuple[Parts, Method, HeldOut, float]] = []
    with progress.track("trying methods on held-out photos", len(parts), "methods") as advance:
        for one in parts:
            start = time.perf_counter()
            method, held = best_choice(one, photos, progress, shots)
            if len(held.labels) < LEAST:
                raise UserError(
                    f"{dataset.owner}: {len(held.labels)} photos can be held out; a comparison needs {LEAST} or more"
                )
            tried.append((one, method, held, time.perf_counter() - start))
            advance(1)
    right = [(held.scores.argmax(axis=1) == held.labels).astype(float) for _, _, held, _ in tried]
    ranks = rank_ranges(better_than(right))
    found = [
        Candidate(one, method, held, rank, 1000 * seconds / len(held.labels))
        for (one, method, held, seconds), rank in zip(tried, ranks, strict=True)
    ]
    found.sort(key=lambda one: -one.held.accuracy)
    return Recommendation(
        photos, tuple(found), tuple(_curve(found[0], photos)), tuple(_confusions(found[0].held, photos.classes))
    )


def _suitable(config: RunConfig, ways: int) -> list[Parts]:
    """Every built-in or installed method that can be fitted without training; they share the first one's network."""
    found: list[Parts] = []
    for name in registry.entries("methods"):
        if ":" in name or name in SKIPPED:
            continue
        try:
            one = parts_of(replace(config, method=name), None, ways)
        except UsageError:  # it needs images, texts, all queries or a training
            continue
        if one.learned is None:
            found.append(replace(one, backbone=found[0].backbone) if found else one)
    if not found:
        raise UsageError("no method can be fitted on these photos")
    return found


def _curve(best: Candidate, photos: Encoded) -> list[tuple[int, Interval]]:
    """The mean accuracy of episodes with all classes, by photos a class; a photo and its copy are never both drawn."""
    _, distinct = np.unique(photos.same, return_index=True)
    rows = [distinct[photos.labels[distinct] == label] for label in range(len(photos.classes))]
    fewest = min(map(len, rows))
    table = FeatureTable.of(photos.features.cpu().numpy(), photos.features.device)
    evaluator = Evaluator(best.method, Source(photos.features.device, table=table), best.parts.name)
    shots = [count for count in SHOTS if count + 1 <= fewest]
    return [(count, t_interval(evaluator.accuracies(_episodes(rows, count, min(QUERIES, fewest - count))))) for count in shots]


def _episodes(rows: Sequence[np.ndarray], shots: int, queries: int) -> EpisodeBatch:
    """Episodes with all N classes: rows holds the photos of each class. A pure function of its arguments."""
    ways = len(rows)
    drawn = np.stack(
        [
            np.stack(
                [
                    np.random.default_rng((shots, episode, label)).permutation(mine)[: shots + queries]
                    for label, mine in enumerate(rows)
                ]
            )
            for episode in range(DRAWS)
        ]
    )  # [E, N, shots + queries]

    def flat(part: np.ndarray) -> np.ndarray:
        return part.transpose(0, 2, 1).reshape(DRAWS, -1).astype(np.int64)  # shot-major

    def labels(count: int) -> np.ndarray:
        return np.tile(np.arange(ways, dtype=np.int64), (DRAWS, count))

    return EpisodeBatch(
        support=flat(drawn[:, :, :shots]),
        support_labels=labels(shots),
        query=flat(drawn[:, :, shots:]),
        query_labels=labels(queries),
        classes=labels(1),
        index=np.arange(DRAWS, dtype=np.int64),
    )


def _confusions(held: HeldOut, classes: Sequence[str]) -> list[tuple[str, str, int]]:
    """The pairs of classes that were taken for each other."""
    taken = held.scores.argmax(axis=1)
    pairs = Counter((int(a), int(b)) for a, b in zip(held.labels, taken, strict=True) if a != b)
    return [(classes[a], classes[b], count) for (a, b), count in sorted(pairs.items(), key=lambda one: (-one[1], one[0]))]
