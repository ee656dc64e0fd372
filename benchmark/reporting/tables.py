"""Records grouped into tables, one a task, sorted and ranked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...tasks.testbed_sampler import TestbedSampler
from ..records.identity import TaskKey, same_episodes, task_of, without_repeats
from ..records.labels import FINGERPRINT_DIGITS, Label, labels_of, pretraining_label, task_title, with_parameters
from ..records.ranking import RankRange, rank_ranges
from ..records.record import RunRecord
from .coarsity import Quartile, quartiles

SEMANTIC = ("semantic", TestbedSampler.name)


@dataclass(frozen=True)
class Row:
    """A record with the ranks that its table leaves open, and its label beside pretraining and number of episodes."""

    record: RunRecord
    rank: RankRange
    label: Label

    @cached_property
    def quartiles(self) -> tuple[Quartile | None, ...]:
        """Coarsity and accuracy by quartile of coarsity, the finest first; empty where the record has no coarsity."""
        return quartiles(self.record)


@dataclass(frozen=True)
class Table:
    """The complete runs of one task, best mean first.

    Attributes:
        key: the task.
        rows: at least one.
        episodes: hash of the drawn episodes where runs of this task disagree on them, else None.
    """

    key: TaskKey
    rows: tuple[Row, ...]
    episodes: str | None = None

    @property
    def section(self) -> str:
        """Heading above the table: the dataset, and whether tasks are semantic or images corrupted."""
        semantic = ", semantic tasks" if self.semantic else ""
        return f"{self.key.dataset}{semantic}{'' if self.key.corruption is None else ', corrupted images'}"

    @property
    def semantic(self) -> bool:
        """Whether tasks are drawn by meaning: a testbed, from a file or drawn for the run."""
        return self.key.sampler in SEMANTIC

    @cached_property
    def title(self) -> str:
        """The task in words, without the dataset, with the mean coarsity of the longest run if it has one."""
        coarsity = max((row.record for row in self.rows), key=lambda record: record.n_episodes).coarsities
        return task_title(self.key) + ("" if coarsity is None else f", mean coarsity {coarsity.mean():.2f}")

    @property
    def data(self) -> str:
        """The images: `Dataset version 1 (size=84), fingerprint 0123456789ab`."""
        version = with_parameters(f"Dataset version {self.key.dataset_version}", json.loads(self.key.dataset_parameters))
        episodes = f", episodes {self.episodes[:FINGERPRINT_DIGITS]}" if self.episodes else ""
        return f"{version}, fingerprint {self.key.fingerprint[:FINGERPRINT_DIGITS]}{episodes}"


def tables_of(records: Iterable[RunRecord]) -> list[Table]:
    """Group the complete records by task and rank each group; sorted by dataset, then by task.

    Within a dataset semantic tasks come after the others, and tasks on corrupted images last.
    """
    groups: dict[TaskKey, list[RunRecord]] = {}
    for record in records:
        if record.complete:
            groups.setdefault(task_of(record), []).append(record)
    return [table for key in sorted(groups, key=_order) for table in _tables_of_task(key, without_repeats(groups[key]))]


def _order(key: TaskKey) -> list[tuple[bool, Any]]:
    section = (key.dataset, key.corruption is not None, key.sampler in SEMANTIC)
    words_first = (*section, key.split, key.sampler, key.sampler_parameters)
    numbers = (key.ways, key.shots, key.queries, key.seed, key.corruption or "")
    rest = (key.dataset_version, key.dataset_parameters, key.fingerprint)
    return [(value is None, value if value is not None else 0) for value in (*words_first, *numbers, *rest)]


def _tables_of_task(key: TaskKey, records: list[RunRecord]) -> list[Table]:
    """One table, or one for each set of drawn episodes where runs of equal length disagree on them."""
    if same_episodes(records):
        return [Table(key, _ranked(records))]
    drawn = {(record.n_episodes, record.task.episodes_sha256) for record in records}
    return [
        Table(key, _ranked([record for record in records if record.task.episodes_sha256 == digest]), digest)
        for _, digest in sorted(drawn)
    ]


def _ranked(records: list[RunRecord]) -> tuple[Row, ...]:
    ordered = sorted(records, key=lambda r: (-r.mean, r.method.name, r.backbone.name, r.config_sha256, r.n_episodes))
    ranks = rank_ranges([record.accuracies for record in ordered])
    labels = labels_of(ordered, beside=[(pretraining_label(record), record.n_episodes) for record in ordered])
    return tuple(Row(*row) for row in zip(ordered, ranks, labels, strict=True))
