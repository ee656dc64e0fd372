"""Many records compared: all pairs on the same episodes, mean ranks of one task, and mean ranks over several tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...core.errors import UserError
from ...core.options import Settings
from .identity import TaskKey, canonical_json, task_of
from .labels import label_of
from .ranking import compare_records
from .record import RunRecord
from .statistics import PairedDifference, holm
from .task_words import with_parameters

RESAMPLES = 2_000  # of tasks and episodes, for the interval of a mean rank over tasks


@dataclass(frozen=True)
class Pair:
    """Two records on the episodes that both have.

    Attributes:
        first: place of the first record among those given.
        second: place of the second.
        difference: first minus second; its p-value is that of the paired t-test alone.
        wins: number of episodes where the first is better.
        ties: number of episodes where both are as good.
        losses: number of episodes where the second is better.
        t: p-value of the paired t-test, adjusted by Holm's procedure over all pairs.
        wilcoxon: p-value of Wilcoxon's signed-rank test, adjusted likewise. Of the ties, half count for each.
    """

    first: int
    second: int
    difference: PairedDifference
    wins: int
    ties: int
    losses: int
    t: float
    wilcoxon: float


@dataclass(frozen=True)
class MeanRank:
    """The mean rank of a method over tasks, 1 being the best.

    Attributes:
        mean: over the tasks, of the rank by mean accuracy; methods of equal accuracy share the mean of their ranks.
        low: lower end of the percentile bootstrap interval over tasks and episodes.
        high: its upper end.
    """

    mean: float
    low: float
    high: float


def compare_pairs(records: Sequence[RunRecord], level: float = 0.95) -> list[Pair]:
    """Compare all pairs of records of one task.

    Args:
        records: at least two.
        level: confidence level of the intervals of the differences, which are not adjusted.

    Raises:
        UserError: two records are of different tasks, or drew different episodes.
        UsageError: the level is not between 0 and 1.
    """
    places = list(combinations(range(len(records)), 2))
    differences = [compare_records(records[i], records[j], level) for i, j in places]
    gaps = [
        records[i].accuracies[: found.n] - records[j].accuracies[: found.n]
        for (i, j), found in zip(places, differences, strict=True)
    ]
    t = holm([found.p_value for found in differences])
    wilcoxon = holm([signed_rank_p_value(gap) for gap in gaps])
    return [
        Pair(
            *(i, j, difference),
            wins=int((gap > 0).sum()),
            ties=int((gap == 0).sum()),
            losses=int((gap < 0).sum()),
            t=float(adjusted_t),
            wilcoxon=float(adjusted_wilcoxon),
        )
        for (i, j), difference, gap, adjusted_t, adjusted_wilcoxon in zip(places, differences, gaps, t, wilcoxon, strict=True)
    ]


def signed_rank_p_value(differences: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; zeros are split between the signs (Demšar 2006, JMLR 7, 3.1.3).

    Args:
        differences: float [n].

    Returns:
        The p-value; 1 where all differences are 0.
    """
    from scipy.stats import wilcoxon

    if not differences.any():
        return 1.0
    return float(np.asarray(wilcoxon(differences, zero_method="zsplit", method="asymptotic"))[1])


def ranks_of_episodes(records: Sequence[RunRecord]) -> np.ndarray:
    """The mean rank of each record over the episodes that all have.

    Returns:
        float [K]; in each episode the best has rank 1, and records of equal accuracy share the mean of their ranks.
    """
    from scipy.stats import rankdata

    common = min(record.n_episodes for record in records)
    return rankdata([-record.accuracies[:common] for record in records], axis=0).mean(axis=1)


def by_task(records: Sequence[RunRecord]) -> tuple[list[str], list[list[RunRecord]]]:
    """Sort records by task and method.

    A method is the same on all tasks where its name and its backbone are; weights may differ, and so may settings, unless one
    task has several: then the names say those that differ there.

    Returns:
        The names of K methods, and for each task the K records in the order of the names.

    Raises:
        UserError: a task lacks a method, or has one twice; all differences of episodes that `compare_records` finds.
    """
    table: dict[object, dict[str, RunRecord]] = {}
    for record, name in zip(records, _names(records), strict=True):
        row = table.setdefault(task_of(record), {})
        if name in row:
            raise UserError(
                f"two records are of {name} on one task ({label_of(record)}, {record.task.dataset}); give one of them"
            )
        row[name] = record
    names = sorted({name for row in table.values() for name in row})
    for row in table.values():
        absent = [name for name in names if name not in row]
        if absent:
            task = next(iter(row.values())).task
            raise UserError(
                f"{task.dataset}, {task.ways}-way {task.shots}-shot, has no record of {'; '.join(absent)}; ranks over tasks "
                "need every method on every task"
            )
        for name in names[1:]:
            compare_records(row[names[0]], row[name])
    return names, [[row[name] for name in names] for row in table.values()]


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Method and backbone of each record, with the settings in which records of one task differ."""
    settings = [_settings(record) for record in records]
    alike: dict[tuple[str, str, TaskKey], list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        alike[record.method.name, record.backbone.name, task_of(record)].append(place)
    told: dict[object, set[str]] = defaultdict(set)
    for (method, backbone, _), places in alike.items():
        for name in {name for place in places for name in settings[place]}:
            if len({canonical_json(settings[place].get(name)) for place in places}) > 1:
                told[method, backbone].add(name)
    names = []
    for record, known in zip(records, settings, strict=True):
        said = {name: known[name] for name in told[record.method.name, record.backbone.name] if name in known}
        names.append(f"{with_parameters(record.method.name, said)}, {record.backbone.name}")
    return names


def _settings(record: RunRecord) -> Settings:
    method, backbone = record.method, record.backbone
    of_backbone = {f"backbone.{name}": value for name, value in backbone.parameters.items()}
    prompts = {} if method.text is None else {"prompts": method.text.prompts}
    return {**method.parameters, **of_backbone, **prompts, "tune": backbone.tune, "precision": backbone.precision,
            "views": backbone.views}  # fmt: skip


def mean_ranks(tasks: Sequence[Sequence[RunRecord]], level: float = 0.95, seed: int = 0) -> list[MeanRank]:
    """Rank K methods on each task by mean accuracy, and average the ranks over the tasks.

    The interval resamples the tasks and, within each, its episodes, the same ones for all methods.

    Args:
        tasks: for each task the K records, as `by_task` gives them.
        level: confidence level of the intervals.
        seed: of a Philox generator; the same seed gives the same intervals.
    """
    from scipy.stats import rankdata

    generator = np.random.Generator(np.random.Philox(seed))
    known, drawn = [], []
    for row in tasks:
        common = min(record.n_episodes for record in row)
        accuracies = np.stack([record.accuracies[:common] for record in row])  # [K, n]
        known.append(rankdata(-accuracies.mean(axis=1)))
        means = np.stack([_resampled(accuracies, generator) for _ in range(RESAMPLES)])
        drawn.append(rankdata(-means, axis=1))
    ranks = np.stack(drawn)  # [tasks, resamples, K]
    chosen = generator.integers(len(tasks), size=(RESAMPLES, len(tasks)))
    resampled = ranks[chosen, np.arange(RESAMPLES)[:, None]].mean(axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [MeanRank(*map(float, ends)) for ends in zip(np.mean(known, axis=0), low, high, strict=True)]


def _resampled(accuracies: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mean accuracies, float [K], of as many episodes drawn with replacement."""
    n = accuracies.shape[1]
    counts = np.bincount(generator.integers(n, size=n), minlength=n)
    return accuracies @ counts / n
