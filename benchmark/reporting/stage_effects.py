"""The effect of a stage: mean paired differences between runs that differ in that stage alone.

Two runs are a pair where all else is equal: the network's architecture, what it was trained on, which other stages there were,
how episodes were fine-tuned, and the task; a meta-trained network is compared with the very weights that it started from. How
P and M were trained (rates, steps) is not looked at. Both saw the same episodes, so the difference is taken episode by episode.
Of one test set the pairs are averaged first, since they share its episodes, under whatever corruption; other test sets have
episodes of their own, so the errors of their means are independent. The interval is about the choice of the episodes, with the
networks as they are: another training would move the numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from ...core.errors import UserError
from ..records.identity import canonical_json, same_episodes, task_of, without_repeats
from ..records.record import RunRecord
from .markdown import EMPTY, table_lines
from .pages import Part
from .pivot import FORM, FORM_OF_RECORDS, Query, pivot_of
from .stages import NONE, Stages, stages_of

LEVEL = 0.95
PRETRAINING, META, FINE = "pretraining", "meta-training", "fine-tuning"
UNIMPORTANT = "parallel"  # of a method's parameters: how episodes are computed together
HEADS = ("stage", "in domain", "across domains")


@dataclass(frozen=True)
class Effect:
    """Of a stage, on the tasks of one kind.

    Attributes:
        mean: of the differences with and without it, a fraction.
        half_width: of its interval.
        least: the smallest difference of a pair.
        most: the largest.
        pairs: how many.
    """

    mean: float
    half_width: float
    least: float
    most: float
    pairs: int

    def __str__(self) -> str:
        """In percent."""
        interval = f"{100 * self.mean:+.2f} ± {100 * self.half_width:.2f}"
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"{interval} ({100 * self.least:+.1f} to {100 * self.most:+.1f}, {pairs})"


def effects_of(query: str) -> list[str]:
    """The table of the records that a query of pivot.py finds, which says `records` and `where` alone."""
    return effects_table(without_repeats(record for _, record in Query.parse(query, laid_out=False).find()))


def effects_table(records: Sequence[RunRecord]) -> list[str]:
    """Of each stage in and across domains, by shots; a markdown table, a line a row.

    Args:
        records: complete ones.

    Raises:
        UserError: two of them have all in common, or a pair has too few common episodes.
    """
    runs = _by_place(records)
    pairs: dict[tuple[str, str], list[tuple[bool, RunRecord, RunRecord]]] = {}
    for stages, record in sorted(runs.values(), key=lambda run: run[1].task.shots or math.inf):
        shots = "varying shots" if record.task.shots is None else f"{record.task.shots}-shot"
        for name, less in _without_one(stages):
            _, other = runs.get(_place(record, less), (None, None))
            if other is not None and (less.meta_trained == stages.meta_trained or _went_on_from(record, other)):
                pairs.setdefault((shots, name), []).append((stages.in_domain, record, other))
    rows: list[list[str]] = []
    by_shots = [*dict.fromkeys(shots for shots, _ in pairs)]
    for shots, name in sorted(pairs, key=lambda key: (by_shots.index(key[0]), _order(key[1]))):
        of_kind = pairs[shots, name]
        cells = [effect_of((a, b) for in_domain, a, b in of_kind if in_domain == inside) for inside in (True, False)]
        rows.append([f"{name}, {shots}", *(EMPTY if cell is None else str(cell) for cell in cells)])
    return table_lines(HEADS, rows, [False, True, True])


def _without_one(stages: Stages) -> Iterator[tuple[str, Stages]]:
    """The stages but one, and what the difference is called: alone, a stage does something else than beside another."""
    trained = stages.pretraining != NONE or stages.meta_trained
    if stages.pretraining != NONE:
        name = f"{stages.pretraining} {PRETRAINING}{' before meta-training' if stages.meta_trained else ' alone'}"
        yield name, replace(stages, pretraining=NONE)
    if stages.meta_trained:
        name = f"{META}{' alone' if stages.pretraining == NONE else ' after pretraining'}"
        yield name, replace(stages, meta_trained=False)
    if stages.fine_tuned != NONE:
        yield f"{FINE} of {'trained' if trained else 'initial'} weights", replace(stages, fine_tuned=NONE)


def _order(name: str) -> tuple[int, bool, str]:
    """P, M, F; each first without another training beside it."""
    stage = 1 if name.startswith(META) else 2 if name.startswith(FINE) else 0
    return stage, not name.endswith(("alone", "initial weights")), name


def effect_of(pairs: Iterable[tuple[RunRecord, RunRecord]]) -> Effect | None:
    """The mean difference of first minus second; None of no pairs.

    Raises:
        UserError: a pair has no common episodes, or but one.
    """
    by_set: dict[str, list[np.ndarray]] = {}
    for one, other in pairs:
        count = min(one.n_episodes, other.n_episodes)
        if not same_episodes([one, other]):
            raise UserError(f"two records of {one.task.dataset} saw different episodes; repeat the older run with --overwrite")
        if count < 2:
            raise UserError(f"two records of {one.task.dataset} have {count} common episodes; an interval needs two at least")
        differences = np.asarray(one.accuracies[:count]) - np.asarray(other.accuracies[:count])
        by_set.setdefault(canonical_json([one.task.dataset, one.task.split, one.task.seed]), []).append(differences)
    if not by_set:
        return None
    means = [float(differences.mean()) for several in by_set.values() for differences in several]
    variance, fewest = 0.0, min(len(differences) for several in by_set.values() for differences in several)
    for several in by_set.values():
        shortest = min(map(len, several))
        of_episodes = np.mean([differences[:shortest] for differences in several], axis=0)
        share = len(several) / len(means)
        variance += share**2 * float(of_episodes.var(ddof=1)) / shortest
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, fewest - 1)) * math.sqrt(variance)
    return Effect(float(np.mean(means)), half_width, min(means), max(means), len(means))


def _by_place(records: Sequence[RunRecord]) -> dict[str, tuple[Stages, RunRecord]]:
    found: dict[str, tuple[Stages, RunRecord]] = {}
    for record in records:
        stages = stages_of(record)
        place = _place(record, stages)
        if place in found:
            raise UserError(f"two records have the same stages on {record.task.dataset}: take one of them out")
        found[place] = stages, record
    return found


def _place(record: RunRecord, stages: Stages) -> str:
    """All that two runs of a pair have in common."""
    network: list[Any] = [record.backbone.name, record.backbone.parameters]
    parameters = {name: value for name, value in record.method.parameters.items() if name != UNIMPORTANT}
    tuning = None if stages.fine_tuned == NONE else parameters
    return canonical_json([record.method.name, tuning, network, vars(stages), task_of(record)._asdict()])


def _went_on_from(record: RunRecord, other: RunRecord) -> bool:
    """Whether a run's network was meta-trained from that of the other."""
    seen = record.backbone.pretraining
    started = None if seen is None else seen.started_from
    return started is not None and started.weights_sha256 == other.backbone.weights_sha256


PARTS = {"table": Part(pivot_of, FORM), "effects": Part(effects_of, FORM_OF_RECORDS)}  # what `bench table` fills
