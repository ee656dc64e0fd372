"""Running a config: find what is there already, evaluate what is missing, write the record."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ...core.decoding import encode
from ...core.errors import Interrupted, UserError
from ...core.progress import Progress
from ...tasks.episodes import EpisodeBatch, check_tasks
from ...tasks.samplers import Sampler
from ...tasks.testbed import coarsity_summary
from ..config import RunConfig
from ..device import choose_device, tf32
from ..records.codec import decode, encode_rough
from ..records.predictions import remove_predictions
from ..records.provenance import code_version, command_line, environment, utc_now
from ..records.record import RunRecord, accuracy_section
from ..records.sections import Encoded, Kept, Sections, Timing
from ..records.statistics import FEWEST, images_for_interval
from ..records.store import write_record
from ..records.task import Coarsity, Corrupted, Task
from .choose import as_chosen_before, with_choices
from .evaluate import Evaluator, chunk_size
from .keeping import Keeper
from .opening import source_of
from .plan import Plan, make_plan
from .preconditions import check_data
from .resume import check_folder, finished_record, interrupted_record, partial_path
from .series import Series

FLUSH_SECONDS = 2.0  # at most so much work is lost to a kill, where writing it takes less than a tenth of that
# Episodes that share no image, at most (and no more than of the others), for a method on images: each costs as much as any
# other, seconds for one that trains, and a split may hold hundreds. From features they come at next to nothing: all are taken.
DISJOINT_ON_IMAGES = 50


class Outcome(NamedTuple):
    """A run's end.

    Attributes:
        record: the record.
        path: its file.
        reused: True when the run was finished already and nothing was done.
        note: what the user should know about the result; "" where there is nothing.
    """

    record: RunRecord
    path: Path
    reused: bool
    note: str = ""


def run(config: RunConfig, progress: Progress) -> Outcome:
    """Evaluate one method on one task; see `fewbench.benchmark.run`."""
    found = find_run(config, progress)
    return found if isinstance(found, Outcome) else found.execute()


def find_run(config: RunConfig, progress: Progress) -> Outcome | Run:
    """What a config asks for: the outcome where it is finished, else the run, checked and with what an earlier attempt left."""
    started = time.perf_counter()
    plan = make_plan(config, progress)
    record = finished_record(plan, progress)
    if record is not None:
        return Outcome(record, plan.path(), reused=True)
    earlier = interrupted_record(plan, progress)
    wanted = min(plan.config.episodes, config.limit or config.episodes)
    if earlier is not None and earlier.n_episodes >= wanted < plan.config.episodes:
        return Outcome(earlier, partial_path(plan), reused=True)
    plan = plan if earlier is None else as_chosen_before(plan, earlier)
    check_folder(plan.path().parent)
    sampler = check_data(plan, lambda split: plan.open_split(split, progress))
    return Run(plan, sampler, progress, started, earlier)


class Run:
    """One evaluation from its first or resumed episode to its record."""

    def __init__(self, plan: Plan, sampler: Sampler, progress: Progress, started: float, earlier: RunRecord | None) -> None:
        """Take up what is there.

        Args:
            plan: what to run.
            sampler: over the clean images: corrupted ones have the same episodes.
            progress: told of long work.
            started: `time.perf_counter()` when the run began.
            earlier: what an interrupted run of the same configuration left.
        """
        self.plan, self.sampler = plan, sampler
        self.progress, self.started, self.started_utc = progress, started, utc_now()
        self.path, self.partial = plan.path(), partial_path(plan)
        self.found = self.partial.exists()  # which outlives a failure of this run
        self.device = choose_device(plan.config.device)
        self.environment, self.code = environment(self.device), code_version()
        self.note = ""
        self.sha = hashlib.sha256()  # of the episodes that are done; or their digest, where another process draws them
        self.digest: str | None = None
        self.keeper = Keeper(self.partial, earlier) if plan.config.keep_predictions else None
        self.beside = {} if earlier is None else earlier.task.beside or {}  # fingerprints of further splits
        self.encoded: Encoded | None = None  # when and how the features were made that this run used
        # The episodes, those that share no image, and other seconds of earlier attempts.
        self.main, self.disjoint = Series.of(np.empty(0)), Series.of(np.empty(0))
        self.encode_seconds = self.total_seconds = 0.0
        if earlier is not None:
            timing, apart = earlier.timing, earlier.accuracy.without_replacement
            self.main = Series.of(earlier.accuracies, timing.classify_seconds)
            done = np.empty(0) if apart is None else decode(apart.accuracies, apart.episodes)
            self.disjoint = Series.of(done, timing.disjoint_seconds)
            self.encode_seconds, self.total_seconds = timing.encode_seconds, timing.total_seconds

    def execute(self) -> Outcome:
        """Evaluate what is missing and write the record: a partial one where `limit` ends the run early."""
        config = self.plan.config
        self.begin()
        for batch in self.sampler.batches(0, len(self.main)):
            self.sha.update(batch.as_bytes())
        kept, flushed, spent = (len(self.main), len(self.disjoint)), time.perf_counter(), 0.0
        try:
            with tf32(self.device, allowed=False):  # but where features are encoded with it, on demand
                evaluator = self._evaluator()
                for series, title, total, batches in self._parts(evaluator.name):
                    with self.progress.track(title, total) as advance:
                        advance(len(series))
                        series.make_room(total)
                        last = time.perf_counter()
                        keep = self.keeper.add if self.keeper and series is self.main else None
                        for batch, accuracies in evaluator.chunks(batches, keep):
                            now = time.perf_counter()
                            self._add(series, batch, accuracies, now - last)
                            last = now
                            advance(len(batch))
                            if now - flushed >= max(FLUSH_SECONDS, 10 * spent):
                                self.write_partial()
                                flushed = time.perf_counter()
                                spent = flushed - now
                                last = flushed
        except KeyboardInterrupt:
            if (len(self.main), len(self.disjoint)) != kept:
                self.write_partial()
            message = f"interrupted after {len(self.main)} of {config.episodes} episodes"
            again = "; the same command " + ("starts anew" if config.overwrite else "goes on from there")
            raise Interrupted(message + again if len(self.main) else message) from None
        except UserError:
            self.give_up()
            raise
        return self.finish()

    def begin(self) -> None:
        """Open the images, and cut what is done to whole chunks."""
        self.split = self.plan.corrupted(self.plan.open_split(self.plan.config.split, self.progress))
        self.beside |= {name: self.plan.open_split(name, self.progress).fingerprint for name in self.plan.splits_beside}
        wanted, one = self.plan.config.episodes, self.sampler.draw(0, 1)
        self.main.cut(wanted, self.chunk(one))
        if self.keeper:
            self.keeper.begin(wanted, one, len(self.main))
        if len(self.main):
            self.progress.say(f"resuming after {len(self.main)} of {wanted} episodes")

    def chunk(self, batch: EpisodeBatch) -> int:
        """Episodes of such a batch that the method sees at once."""
        return chunk_size(self.plan.method, batch, self.plan.inputs, self.plan.backbone.feature_dim)

    def _evaluator(self) -> Evaluator:
        """Decide what is open and encode what is to be encoded."""
        self.plan = with_choices(self.plan, self.device, self.progress)
        began = time.perf_counter()
        source, self.encoded = source_of(self.plan, self.split, self.device, self.progress)
        self.encode_seconds += time.perf_counter() - began
        return Evaluator(self.plan.method, source, self.plan.method_section.name)

    def _parts(self, name: str) -> Iterator[tuple[Series, str, int, Iterable[EpisodeBatch]]]:
        """The work to do: each series with its name, its intended length and its missing episodes.

        After all episodes come those that share no image, for the interval about the data rather than this test set.
        """
        title = f"{name} on {self.plan.dataset_name}"
        yield self.main, title, self.wanted, self.sampler.batches(len(self.main), self.wanted)
        if (apart := self.apart()) is not None:
            yield self.disjoint, f"{title}, no image twice", len(apart), [apart[len(self.disjoint) :]]

    @property
    def wanted(self) -> int:
        """The number of episodes at which this run ends, now or with `limit` early."""
        return min(self.plan.config.episodes, self.plan.config.limit or self.plan.config.episodes)

    def apart(self) -> EpisodeBatch | None:
        """The episodes that share no image; None where there are none, or where others are missing."""
        config = self.plan.config
        apart = self.sampler.disjoint_episodes() if len(self.main) >= config.episodes else None
        if apart is not None and len(apart) < FEWEST:
            self.note = self._too_few(len(apart))
        if apart is None or len(apart) < 2:
            return None
        check_tasks(apart, int(self.sampler.offsets[-1]))
        if self.plan.inputs == "images":
            apart = apart[: min(DISJOINT_ON_IMAGES, config.episodes)]
        self.disjoint.cut(len(apart), self.chunk(apart))
        return apart

    def _too_few(self, episodes: int) -> str:
        """How many images would do for an interval without replacement, in words; "" where the number varies."""
        shape = self.plan.sampling.shape
        ways, shots, queries = (shape[name] for name in ("ways", "shots", "queries"))
        if ways is None or shots is None or queries is None:
            return ""
        classes = len(self.sampler.sizes)
        need = images_for_interval(ways, shots, queries, classes)
        return (
            f"too few images for an interval without replacement: they give {episodes} of the {FEWEST} episodes that it takes; "
            f"{need} images in each of the {classes} classes would do"
        )

    def _add(self, series: Series, batch: EpisodeBatch, accuracies: np.ndarray, seconds: float) -> None:
        series.add(accuracies, seconds)
        if series is self.main:
            self.sha.update(batch.as_bytes())

    def finish(self) -> Outcome:
        """Write the record, or a partial one where episodes are missing."""
        if len(self.main) < self.plan.config.episodes:
            return Outcome(self._write("partial", self.partial), self.partial, reused=False, note=self.note)
        record = self._write("complete", self.path)
        self._remove_partial()
        return Outcome(record, self.path, reused=False, note=self.note)

    def _write(self, status: Literal["complete", "partial"], path: Path) -> RunRecord:
        """Write the predictions where they are kept, then the record that names them; older ones go last."""
        predictions = self.keeper.write(path, status == "complete") if self.keeper else None
        record = self._record(status, predictions)
        write_record(record, path)
        remove_predictions(path, predictions)
        return record

    def write_partial(self) -> None:
        """Write what is done, for the same command to go on from."""
        self._write("partial", self.partial)

    def give_up(self) -> None:
        """Remove the partial record of a run that failed, unless an earlier attempt left it."""
        if not self.found:
            self._remove_partial()

    def _remove_partial(self) -> None:
        self.partial.unlink(missing_ok=True)
        remove_predictions(self.partial)

    def _record(self, status: Literal["complete", "partial"], predictions: Kept | None) -> RunRecord:
        config = self.plan.config
        accuracy = accuracy_section(
            self.main.accuracies,
            config.level,
            bootstrap_seed=config.seed if config.bootstrap else None,
            without_replacement=self.disjoint.accuracies if len(self.disjoint) else None,
        )
        timing = Timing(
            encode_seconds=round(self.encode_seconds, 3),
            classify_seconds=round(self.main.seconds, 3),
            total_seconds=round(self.total_seconds + time.perf_counter() - self.started, 3),
            started_utc=self.started_utc,
            disjoint_seconds=round(self.disjoint.seconds, 3),
            encoding=self.encoded,
        )
        sections = Sections(
            status=status,
            method=self.plan.method_section,
            backbone=self.plan.backbone_section(),
            task=self._task(),
            n_episodes=len(self.main),
            accuracy=accuracy,
            timing=timing,
            environment=self.environment,
            fewbench=self.code,
            argv=tuple(command_line()),
            config_sha256=self.plan.config_sha256(),
            predictions=predictions,
        )
        return RunRecord.of(encode(sections))

    def _task(self) -> Task:
        coarsities, corruption = self.sampler.coarsity(len(self.main)), self.split.corruption
        coarsity = (
            None if coarsities is None else Coarsity(**coarsity_summary(coarsities), per_episode=encode_rough(coarsities))
        )
        return replace(
            self.plan.task_section(),
            fingerprint=self.split.fingerprint,
            sampler_parameters=self.sampler.parameters,
            episodes_sha256=self.digest or self.sha.hexdigest(),
            corruption=None if corruption is None else Corrupted(**corruption),
            coarsity=coarsity,
            beside=self.beside or None,
        )
