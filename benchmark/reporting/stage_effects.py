"""The effect of a stage: mean paired differences between runs that differ in that stage alone.

Two runs are a pair where all else is equal: the network's architecture, its training dataset, the other stages, the fine-tuning
of episodes, and the task; a meta-trained network is compared with the very weights that it started from. Rates and steps of P
and M may differ. Both runs saw the same episodes, so the difference is taken episode by episode. Pairs of one test set are
averaged first, since they share its episodes, corrupted or not; test sets do not share episodes, so the errors of their means
are independent. The interval is about the choice of the episodes, not about the training of the networks, which would move the
numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from ...core.errors import UserError
from ..records.identity import answerer_of, canonical_json, same_episodes, task_of, without_repeats
from ..records.record import RunRecord
from ..records.stages import NONE, Stages, stages_of
from .markdown import EMPTY, table_lines
from .pivot import Query

LEVEL = 0.95
PRETRAINING, META, FINE = "pretraining", "meta-training", "fine-tuning"
UNIMPORTANT = "parallel"  # a parameter of methods that decides only how episodes are computed together
STAGED = ("method.parameters", "method.learned_sha256", "backbone.weights_sha256", "backbone.tune")  # what stages say
HEADS = ("stage", "in domain", "across domains")


@dataclass(frozen=True)
class Effect:
    """The effect of a stage on the tasks of one kind; numbers are fractions.

    Attributes:
        mean: mean difference between runs with the stage and without it.
        half_width: half-width of the interval of the mean.
        least: smallest difference of a pair.
        most: largest difference of a pair.
        pairs: number of pairs.
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


def effects_of(query: str, results: Path) -> list[str]:
    """The lines of the table for the records of a query (pivot.py) of `records` and `where`."""
    return effects_table(without_repeats(record for _, record in Query.parse(query, laid_out=False).find(results)))


def effects_table(records: Sequence[RunRecord]) -> list[str]:
    """The lines of the table: the effect of each stage in and across domains, by shots.

    Args:
        records: complete records.

    Raises:
        UserError: two records differ in no stage and no task, or a pair has too few common episodes.
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
    """The stages without one of them, with a name for the difference; a stage alone differs from one next to another."""
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
    """A sort key: P, M, F; each alone before it joins another training."""
    stage = 1 if name.startswith(META) else 2 if name.startswith(FINE) else 0
    return stage, not name.endswith(("alone", "initial weights")), name


def effect_of(pairs: Iterable[tuple[RunRecord, RunRecord]]) -> Effect | None:
    """The mean difference first − second over pairs; None without pairs.

    Raises:
        UserError: a pair saw different episodes, or has fewer than two common ones.
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
    """Everything that both runs of a pair have in common, as text."""
    parameters = {name: value for name, value in record.method.parameters.items() if name != UNIMPORTANT}
    tuning = None if stages.fine_tuned == NONE else parameters
    return canonical_json([answerer_of(record, but=STAGED), tuning, vars(stages), task_of(record)])


def _went_on_from(record: RunRecord, other: RunRecord) -> bool:
    """Whether a run's meta-training started from the weights of the other run."""
    seen = record.backbone.pretraining
    started = None if seen is None else seen.started_from
    return started is not None and started.weights_sha256 == other.backbone.weights_sha256
