"""One evaluation from its first or resumed episode to its record: evaluate, flush what is done, keep what is interrupted."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import Interrupted, UserError
from ...core.files import make_folder, os_errors_named
from ...core.progress import Progress
from ...tasks.datasets.base import Split
from ...tasks.samplers import Sampler
from ...tasks.testbed import coarsity_summary
from ..device import choose_device
from ..records.codec import encode_rough
from ..records.provenance import code_version, command_line, environment, utc_now
from ..records.record import RunRecord, accuracy_section, write_record
from .choose import with_choices
from .episodes_done import Clock, EpisodesDone, whole_chunks
from .evaluate import Evaluator, chunk_size
from .plan import Plan
from .sources import source_of

FLUSH_SECONDS = 2.0  # at most so much work is lost to a kill
# Episodes that share no image, at most (and no more than of the others), for a method on images: each costs as much as any
# other, seconds for one that trains, and a split may hold hundreds. From features they come at next to nothing: all are taken.
DISJOINT_ON_IMAGES = 50


class Job:
    """One evaluation from its first or resumed episode to its record."""

    def __init__(self, plan: Plan, path: Path, wanted: int, progress: Progress, started: float, done: EpisodesDone) -> None:
        """Prepare one.

        Args:
            plan: what to run.
            path: of the partial record.
            wanted: episodes to stop after.
            progress: told of long work.
            started: `time.perf_counter()` when the command began.
            done: what an interrupted run of the same configuration left.
        """
        self.plan, self.path, self.wanted, self.progress, self.started, self.done = plan, path, wanted, progress, started, done
        self.device = choose_device(plan.config.device)
        self.started_utc = utc_now()
        self.environment, self.code = environment(self.device), code_version()
        self.found = path.exists()  # an earlier run's partial record outlives a failure of this one
        self.complete = False
        self.encoded: dict[str, Any] | None = None  # when and how the features were made that this run used

    def execute(self) -> RunRecord:
        """Evaluate what is missing; the record, saved where it is not complete."""
        config = self.plan.config
        split = self.plan.open_split(config.split, self.progress)
        sampler = self.plan.sampler(split)  # over the clean images: corrupted ones have the same episodes
        split = self.plan.corrupted(split)
        _check_writable(self.path)
        self.done.cut(whole_chunks(self.done.count, config.episodes, chunk_size(self.plan.inputs)), sampler)
        kept = self.done.count, len(self.done.disjoint)
        if self.done.count:
            self.progress.say(f"resuming after {self.done.count} of {config.episodes} episodes")
        try:
            self.plan = with_choices(self.plan, self.device, self.progress)
            evaluator = self._evaluator(split)
            self._loop(sampler, evaluator, split)
            if self.done.count >= config.episodes:
                self._disjoint(sampler, evaluator, split)
        except KeyboardInterrupt:
            if (self.done.count, len(self.done.disjoint)) != kept:
                write_record(self._record(split, sampler), self.path)
            message = f"interrupted after {self.done.count} of {config.episodes} episodes"
            again = "; the same command " + ("starts anew" if config.overwrite else "goes on from there")
            raise Interrupted(message + again if self.done.count else message) from None
        except UserError:
            if not self.found:
                self.path.unlink(missing_ok=True)
            raise
        self.complete = self.done.count >= config.episodes
        record = self._record(split, sampler)
        if not record.complete:
            write_record(record, self.path)
        return record

    def _loop(self, sampler: Sampler, evaluator: Evaluator, split: Split) -> None:
        clock = Clock()
        with self.progress.track(f"{evaluator.name} on {self.plan.dataset_name}", self.wanted) as advance:
            advance(self.done.count)
            for batch, accuracies in evaluator.drawn(sampler, self.done.count, self.wanted):
                self.done.add(batch, accuracies)
                self.done.classify_seconds += clock.lap()
                advance(len(batch))
                if clock.due(FLUSH_SECONDS):
                    write_record(self._record(split, sampler), self.path)

    def _evaluator(self, split: Split) -> Evaluator:
        clock = Clock()
        source, self.encoded = source_of(self.plan, split, self.device, self.progress)
        self.done.encode_seconds += clock.lap()
        return Evaluator(self.plan.method, source, self.plan.method_section["name"])

    def _disjoint(self, sampler: Sampler, evaluator: Evaluator, split: Split) -> None:
        """Score episodes that share no image, for the interval about the data rather than this test set."""
        batch = sampler.disjoint_episodes()
        if batch is None or len(batch) < 2:
            return
        if self.plan.inputs == "images":
            batch = batch[: min(DISJOINT_ON_IMAGES, self.plan.config.episodes)]
        done, clock = self.done, Clock()
        done.disjoint = done.disjoint[: whole_chunks(len(done.disjoint), len(batch), chunk_size(self.plan.inputs))]
        rest = batch[len(done.disjoint) :]
        with self.progress.track(f"{evaluator.name} on {self.plan.dataset_name}, no image twice", len(batch)) as advance:
            advance(len(done.disjoint))
            for part, found in evaluator.chunks(rest):
                done.disjoint = np.concatenate([done.disjoint, found])
                done.disjoint_seconds += clock.lap()
                advance(len(part))
                if clock.due(FLUSH_SECONDS):
                    write_record(self._record(split, sampler), self.path)

    def _record(self, split: Split, sampler: Sampler) -> RunRecord:
        config = self.plan.config
        return RunRecord(
            status="complete" if self.complete else "partial",
            method=self.plan.method_section,
            backbone=self.plan.backbone_section(),
            task=self._task(split, sampler),
            n_episodes=self.done.count,
            accuracy=accuracy_section(
                np.concatenate(self.done.accuracies),
                config.level,
                bootstrap_seed=config.seed if config.bootstrap else None,
                without_replacement=self.done.disjoint if len(self.done.disjoint) else None,
            ),
            timing={
                "encode_seconds": round(self.done.encode_seconds, 3),
                "classify_seconds": round(self.done.classify_seconds, 3),
                "disjoint_seconds": round(self.done.disjoint_seconds, 3),
                "total_seconds": round(self.done.total_seconds + time.perf_counter() - self.started, 3),
                "started_utc": self.started_utc,
                "encoding": self.encoded,
            },
            environment=self.environment,
            fewbench=self.code,
            argv=command_line(),
            config_sha256=self.plan.config_sha256(),
        )

    def _task(self, split: Split, sampler: Sampler) -> dict[str, Any]:
        config, coarsity = self.plan.config, sampler.coarsity(self.done.count)
        return {
            "coarsity": None if coarsity is None else {**coarsity_summary(coarsity), "per_episode": encode_rough(coarsity)},
            "dataset": self.plan.dataset_name,
            "dataset_version": self.plan.dataset.version,
            "dataset_parameters": asdict(self.plan.dataset),
            "fingerprint": split.fingerprint,
            "split": config.split,
            "sampler": config.sampler,
            "sampler_parameters": sampler.parameters,
            **self.plan.sampling.shape,
            "seed": config.seed,
            "episodes_sha256": self.done.sha.hexdigest(),
            **({} if split.corruption is None else {"corruption": dict(split.corruption)}),
        }


def _check_writable(path: Path) -> None:
    """Find out before the work, not after, that the record cannot be saved."""
    make_folder(path.parent)
    probe = path.parent / f".{path.name}.probe"
    with os_errors_named(f"cannot write to {path.parent}"):
        probe.touch()
        probe.unlink()
