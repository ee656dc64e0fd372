"""A testbed: a fixed list of tasks. Classes are sampled by meaning, and images dealt so that all occur about equally often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import numpy as np

from ..core.errors import UserError
from .distances import coarsity
from .episodes import ABSENT, EpisodeBatch, digest
from .samplers import UniformSampler
from .semantic import generator, sample_classes


@dataclass(frozen=True)
class Testbed:
    """A fixed list of tasks on one split of one dataset.

    Attributes:
        episodes: rows of the tasks, with classes ascending within a task. A testbed of classes only has no support and query
            columns.
        coarsity: float64 [E], mean squared distance over the pairs of classes of each task.
        parameters: alpha and beta of the drawing; empty where the file does not say.
        seed: seed of the drawing; None where the file does not say.
        dataset: name of the dataset; None where the file does not say.
        split: train, val or test; None where the file does not say.
        fingerprint: fingerprint of the split; None where the classes were drawn without images or the file does not say.
    """

    episodes: EpisodeBatch
    coarsity: np.ndarray
    parameters: dict[str, float]
    seed: int | None = None
    dataset: str | None = None
    split: str | None = None
    fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.episodes)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 over the drawn indices."""
        return digest([self.episodes])

    @property
    def classes_only(self) -> bool:
        """Whether the tasks name classes but no images."""
        return not self.episodes.support.shape[1] and not self.episodes.query.shape[1]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Ways, shots and queries (support and query images a class); where tasks differ, the largest of each."""
        ways = self.episodes.classes.shape[1]
        return ways, _most_a_class(self.episodes.support_labels, ways), _most_a_class(self.episodes.query_labels, ways)

    def check_fits(self, offsets: np.ndarray, fingerprint: str | None = None) -> None:
        """Check that the testbed belongs to a split.

        Args:
            offsets: int64 [C + 1], the first row of each class.
            fingerprint: fingerprint of the split, compared where the testbed has one.

        Raises:
            UserError: the fingerprints differ, or an image does not belong to the class that the testbed says.
        """
        of = " ".join(filter(None, (self.dataset, self.split))) or "another dataset or split"
        if fingerprint is not None and self.fingerprint not in (None, fingerprint):
            raise UserError(f"the testbed was made for other images (of {of}); make one for this dataset and split")
        batch, sizes = self.episodes, np.diff(offsets)
        if batch.classes.max(initial=0) >= len(sizes):
            raise UserError(f"the testbed names class {batch.classes.max()}, this split has {len(sizes)}; is it of {of}?")
        for rows, labels in ((batch.support, batch.support_labels), (batch.query, batch.query_labels)):
            theirs = np.take_along_axis(batch.classes, np.maximum(labels, 0), axis=1)  # [E, S], the class of each place
            place = rows - offsets[theirs]
            wrong = (labels != ABSENT) & ((place < 0) | (place >= sizes[theirs]))
            if wrong.any():
                raise UserError(f"the testbed's image {rows[wrong][0]} is not of class {theirs[wrong][0]} here; is it of {of}?")


def _most_a_class(labels: np.ndarray, ways: int) -> int:
    """The largest number of places that one class has in one task, from labels [E, S]."""
    task, place = np.nonzero(labels != ABSENT)
    return int(np.bincount(task * ways + labels[task, place]).max(initial=0))


def make_testbed(
    offsets: np.ndarray | None,
    distances: np.ndarray,
    *,
    ways: int,
    shots: int,
    queries: int,
    tasks: int,
    alpha: float,
    beta: float,
    seed: int,
    dataset: str | None = None,
    split: str | None = None,
    fingerprint: str | None = None,
) -> Testbed:
    """Draw a testbed by semantic task sampling (Bennequin et al. 2022, arXiv:2205.05155).

    The classes depend only on the distances, `ways`, `tasks`, `alpha`, `beta` and the seed.

    Args:
        offsets: int64 [C + 1], the first row of each class; None draws classes without images.
        distances: float64 [C, C].
        ways: classes a task.
        shots: support images a class (ignored without images).
        queries: query images a class (ignored without images).
        tasks: number of tasks, E.
        alpha: weight of nearness, ≥ 0.
        beta: weight of the penalty on classes that were drawn often, ≥ 0.
        seed: 0 ≤ seed < 2⁶⁴.
        dataset: name of the dataset, for the record.
        split: name of the split, for the record.
        fingerprint: fingerprint of the split, for the record and for `check_fits`.

    Raises:
        UsageError: a parameter is out of range, or the classes have too few images.
        UserError: the parameters give fewer than E distinct tasks.
    """
    rng = generator(seed)
    if offsets is None:
        shots = queries = 0
    else:
        UniformSampler(offsets, seed, ways, shots, queries)  # checks that the split has enough classes and images
    classes = sample_classes(distances, ways=ways, tasks=tasks, alpha=alpha, beta=beta, rng=rng)  # [E, N]
    rows = np.empty((tasks, ways, 0), dtype=np.int64) if offsets is None else deal(classes, offsets, shots + queries, rng)
    return Testbed(
        episodes=_assemble(classes, rows, shots),
        coarsity=coarsity(distances, classes),
        parameters={"alpha": alpha, "beta": beta},
        seed=seed,
        dataset=dataset,
        split=split,
        fingerprint=fingerprint,
    )


def deal(classes: np.ndarray, offsets: np.ndarray, hand: int, rng: np.random.Generator) -> np.ndarray:
    """Deal images to the tasks in order: without replacement, from a new shuffle when a class has too few images left.

    Args:
        classes: int64 [E, N], class numbers.
        offsets: int64 [C + 1], the first row of each class.
        hand: images for each class of a task; every class has at least as many.
        rng: gives one uniform number for each image of each shuffle.

    Returns:
        int64 [E, N, hand], rows.
    """
    rows = np.empty((*classes.shape, hand), dtype=np.int64)
    for number, size in enumerate(np.diff(offsets)):
        task, place = np.nonzero(classes == number)
        hands_a_shuffle = size // hand
        shuffles = -(-len(task) // hands_a_shuffle)
        order = rng.random((shuffles, size)).argsort(axis=1, kind="stable")
        hands = order[:, : hands_a_shuffle * hand].reshape(-1, hand)
        rows[task, place] = offsets[number] + hands[: len(task)]
    return rows


def _assemble(classes: np.ndarray, rows: np.ndarray, shots: int) -> EpisodeBatch:
    """Make a batch from classes [E, N] and their rows [E, N, K + Q/N], support first; the batch is shot-major as always."""
    tasks, ways, hand = rows.shape
    label = np.arange(ways)
    return EpisodeBatch(
        support=rows[:, :, :shots].transpose(0, 2, 1).reshape(tasks, -1),
        support_labels=np.tile(label, (tasks, shots)),
        query=rows[:, :, shots:].transpose(0, 2, 1).reshape(tasks, -1),
        query_labels=np.tile(label, (tasks, hand - shots)),
        classes=classes,
        index=np.arange(tasks),
    )


class CoarsitySummary(TypedDict):
    """Mean and the three quartiles of coarsities."""

    mean: float
    quartiles: tuple[float, float, float]


def coarsity_summary(coarsity: np.ndarray) -> CoarsitySummary:
    """The summary of per-task coarsities [E]."""
    first, second, third = (float(quartile) for quartile in np.quantile(coarsity, (0.25, 0.5, 0.75)))
    return {"mean": float(coarsity.mean()), "quartiles": (first, second, third)}
