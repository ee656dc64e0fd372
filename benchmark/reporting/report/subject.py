"""What a report looks at: a record with its answers, the images that they are about, and the features of its backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from ....core.errors import UserError
from ....core.progress import Progress
from ....methods.base import class_means
from ....tasks.datasets.base import Dataset
from ....tasks.episodes import ABSENT, EpisodeBatch
from ...device import choose_device
from ...evaluation.evaluate import Answers
from ...evaluation.plan import make_plan
from ...evaluation.replay import OpenTask, check_same_episodes, check_weights, open_task
from ...evaluation.rerun import Where, recorded_config
from ...evaluation.split_classes import class_distances
from ...features.table import FeatureTable, feature_table
from ...records.predictions import Predictions, load_predictions
from ...records.record import RunRecord
from ...records.store import load_record
from .measures import Confusions

DRAWN = 64  # episodes looked at at once
MOST_CLASSES = 4000  # of a split, whose pairs are counted


@dataclass(frozen=True)
class Subject:
    """One run of a report.

    Attributes:
        path: its record's file.
        record: the record.
        found: the answers.
        dataset: of its images.
        task: its images and episodes.
        table: features of the images by its backbone, as it is before a method adapts it.
    """

    path: Path
    record: RunRecord
    found: Predictions
    dataset: Dataset
    task: OpenTask
    table: FeatureTable

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.task.split.class_names

    @cached_property
    def right(self) -> np.ndarray:
        """Whether an answer is right, bool [A]; where classes tie, the first of them counts."""
        return self.found.predicted == self.found.true

    @cached_property
    def hardness(self) -> np.ndarray:
        """float32 [A], the angular visual hardness of each query (Chen et al. 2020, arXiv:1912.02279).

        It is the angle between the query and its own class, as a share of the sum of its angles to all classes of the episode.
        A class is the mean of its support features; in the paper it is a row of the classifier.
        """
        parts = [self._hardness(batch) for batch in self._batches()]
        return np.concatenate(parts).astype(np.float32)

    def _hardness(self, batch: EpisodeBatch) -> np.ndarray:
        labels = torch.tensor(batch.support_labels, device=self.table.device)
        means = class_means(self.table.gather(batch.support), labels, batch.classes.shape[1])  # [E, N, D]
        query = self.table.gather(batch.query)  # [E, Q, D]
        cosine = torch.bmm(normalize(query, dim=2), normalize(means, dim=2).transpose(1, 2))  # [E, Q, N]
        angles = cosine.clamp(-1, 1).acos().cpu().numpy() * (batch.classes != ABSENT)[:, None]
        own = np.take_along_axis(angles, np.maximum(batch.query_labels, 0)[:, :, None], axis=2)[:, :, 0]
        return (own / np.maximum(angles.sum(axis=2), np.finfo(np.float32).tiny))[batch.query_labels != ABSENT]

    @cached_property
    def confusions(self) -> Confusions | None:
        """How often classes were taken for others; None where there are too many classes."""
        number = len(self.classes)
        if number > MOST_CLASSES:
            return None
        asked, together = (np.zeros(number * number, np.int64) for _ in range(2))
        for batch in self._batches():
            there = batch.classes != ABSENT
            counts = np.stack([(batch.query_labels == label).sum(axis=1) for label in range(there.shape[1])], axis=1)  # [E, N]
            pairs = there[:, :, None] & there[:, None] & ~np.eye(there.shape[1], dtype=bool)  # [E, N, N]
            episode, own, other = np.nonzero(pairs)
            cells = batch.classes[episode, own] * number + batch.classes[episode, other]
            np.add.at(asked, cells, counts[episode, own])
            np.add.at(together, cells, 1)
        wrong = ~self.right
        cells = self.found.true[wrong].astype(np.int64) * number + self.found.predicted[wrong]
        taken = np.bincount(cells, minlength=number * number)
        return Confusions(*(one.reshape(number, number) for one in (asked, taken, together)))

    def _batches(self) -> Iterator[EpisodeBatch]:
        """All episodes, in parts without columns that are padding throughout."""
        for batch in self.task.sampler.batches(0, self.record.n_episodes):
            for start in range(0, len(batch), DRAWN):
                yield batch[start : start + DRAWN].trimmed()

    def answered(self, index: int) -> tuple[EpisodeBatch, Answers]:
        """An episode, and the answers to it as they were kept."""
        episode = self.task.episode(index)
        first, last = self.found.starts[index : index + 2]
        numbers = {int(number): label for label, number in enumerate(episode.classes[0])}
        predicted = np.array([[numbers[int(number)] for number in self.found.predicted[first:last]]])
        return episode, Answers(predicted, self.found.credit[None, first:last])


def subject_of(path: Path, where: Where, progress: Progress) -> Subject:
    """Open what a report needs of a record.

    Args:
        path: the record's file.
        where: files that it names.
        progress: told of long work.

    Raises:
        UserError: the record has no predictions or others than it names, or dataset, weights or plug-in are not there.
    """
    record = load_record(path)
    found = load_predictions(path, record)
    config = recorded_config(record, where)
    plan = make_plan(config, progress)
    check_weights(plan, record)
    task = open_task(config, progress)
    check_same_episodes(task, record)
    if not np.array_equal(found.row, _rows(task, record.n_episodes)):
        raise UserError(f"the predictions of {path} are of other queries than its episodes have; repeat its run")
    device = choose_device(config.device)
    table = feature_table(plan.backbone, task.split, device, progress, plan.encoding)
    return Subject(path, record, found, plan.dataset, task, table)


def _rows(task: OpenTask, episodes: int) -> np.ndarray:
    parts = [batch.query[batch.query_labels != ABSENT] for batch in task.sampler.batches(0, episodes)]
    return np.concatenate(parts)


def check_same_images(subjects: Sequence[Subject]) -> None:
    """Check that all runs are of the same images.

    Raises:
        UserError: two are not.
    """
    first = subjects[0]
    for other in subjects[1:]:
        if other.record.task.fingerprint != first.record.task.fingerprint:
            names = [f"{one.path} ({one.record.task.dataset}, {one.record.task.split})" for one in (first, other)]
            raise UserError(f"{names[0]} and {names[1]} are of other images; write a report of each")


def distances_of(subject: Subject) -> np.ndarray | None:
    """Distances between the classes by the dataset's taxonomy, float64 [C, C]; None where it has none."""
    split, task = subject.task.split, subject.record.task
    if len(split.class_ids) > MOST_CLASSES:
        return None
    try:
        return class_distances(subject.dataset, task.split, split.class_ids, np.diff(split.offsets), None)
    except UserError:
        return None
