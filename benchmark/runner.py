"""Running a plan: evaluate, flush what is done, resume what was interrupted, write the record."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..tasks.datasets.base import Split
from ..tasks.episodes import EpisodeBatch
from ..tasks.errors import UserError
from ..tasks.files import make_folder, os_errors_named
from ..tasks.progress import Progress
from ..tasks.samplers import Sampler
from ..tasks.testbed import coarsity_summary
from .config import RunConfig
from .device import choose_device
from .evaluation import Source, chunk_size, evaluate, in_chunks
from .feature_table import feature_table
from .plan import Plan, make_plan
from .provenance import code_version, command_line, environment, utc_now
from .record_codec import decode, encode_rough
from .records import RunRecord, accuracy_section, load_record, write_record

FLUSH_SECONDS = 2.0  # at most so much work is lost to a kill
PARTIAL = ".partial.json"  # an unfinished run's record, beside where the finished one will be
DRAW = 1024  # episodes drawn at a time where only their digest is wanted
# Episodes that share no image, at most, for a method on images: each costs as much as any other, seconds for one that trains,
# and a split may hold hundreds. From features they come at next to nothing, and all are taken.
DISJOINT_ON_IMAGES = 50


class Interrupted(UserError):
    """Ctrl-C: what was done is kept, and the same command goes on from there."""

    exit_code = 130


@dataclass(frozen=True)
class Outcome:
    """A run's end.

    Attributes:
        record: the record.
        path: its file.
        reused: True when the run was finished already and nothing was done.
    """

    record: RunRecord
    path: Path
    reused: bool


def run(config: RunConfig, progress: Progress) -> Outcome:
    """Evaluate one method on one task; see `fewbench.benchmark.run`."""
    started = time.perf_counter()
    plan = make_plan(config, progress)
    path = plan.path()
    record = finished_record(plan, progress)
    if record is not None:
        return Outcome(record, path, reused=True)
    partial_path = path.with_suffix(PARTIAL)
    earlier = None if config.overwrite else _interrupted_earlier(partial_path, plan, progress)
    wanted = min(plan.config.episodes, config.limit or config.episodes)
    if earlier is not None and wanted < plan.config.episodes and earlier.n_episodes >= wanted:
        return Outcome(earlier, partial_path, reused=True)
    record = _Job(plan, partial_path, wanted, progress, started, _Done.of(earlier)).execute()
    if not record.complete:
        return Outcome(record, partial_path, reused=False)
    write_record(record, path)
    partial_path.unlink(missing_ok=True)
    return Outcome(record, path, reused=False)


def finished_record(plan: Plan, progress: Progress) -> RunRecord | None:
    """The record that a plan finds finished and does not repeat; `progress` is told why one is repeated, or could be."""
    path = plan.path()
    if plan.config.overwrite or not path.exists():
        return None
    try:
        record = load_record(path)
    except UserError as error:
        progress.say(f"{error}; it is made again")
        return None
    now = plan.backbone_section()
    # Records made before these were noted do not say; then nothing is known to have changed.
    if record.backbone.get("preprocess", now["preprocess"]) != now["preprocess"]:
        progress.say(f"{path} was made from images that were prepared otherwise; it is made again")
        return None
    others = [] if record.method["source_sha256"] == plan.method_section["source_sha256"] else [record.method_name]
    if record.backbone.get("source_sha256", now["source_sha256"]) != now["source_sha256"]:
        others.append(record.backbone_name)
    if others:
        progress.say(f"{path} was made by another version of {' and '.join(others)}'s code; --overwrite repeats it")
    return record


def _interrupted_earlier(path: Path, plan: Plan, progress: Progress) -> RunRecord | None:
    """What an interrupted run of the same configuration, code and preprocessing left, if it is sound."""
    if not path.exists():
        return None
    try:
        record = load_record(path)
    except UserError as error:
        progress.say(f"{error}; starting from the first episode")
        return None
    now = plan.backbone_section()
    same = record.method["source_sha256"] == plan.method_section["source_sha256"] and all(
        record.backbone.get(name) == now[name] for name in ("source_sha256", "preprocess")
    )
    if not same or record.config_sha256 != plan.config_sha256():
        progress.say(f"{path} was left by other code or preprocessing; starting from the first episode")
        return None
    return record


def _check_writable(path: Path) -> None:
    """Find out before the work, not after, that the record cannot be saved."""
    make_folder(path.parent)
    probe = path.parent / f".{path.name}.probe"
    with os_errors_named(f"cannot write to {path.parent}"):
        probe.touch()
        probe.unlink()


@dataclass
class _Done:
    """Episodes finished so far, in order, with their digest; and those that share no image, which come last.

    Attributes:
        accuracies: of the episodes, in pieces.
        sha: digest of what was drawn for them.
        count: how many they are.
        disjoint: accuracies on episodes that share no image, from the first on.
        classify_seconds: spent on the episodes.
        disjoint_seconds: spent on those that share no image.
        encode_seconds: spent on features.
        total_seconds: of earlier attempts.
    """

    accuracies: list[np.ndarray] = field(default_factory=list)
    sha: Any = field(default_factory=hashlib.sha256)
    count: int = 0
    disjoint: np.ndarray = field(default_factory=lambda: np.empty(0))
    classify_seconds: float = 0.0
    disjoint_seconds: float = 0.0
    encode_seconds: float = 0.0
    total_seconds: float = 0.0

    @classmethod
    def of(cls, record: RunRecord | None) -> _Done:
        """Start from a partial record (its digest is made again from the sampler), or from nothing."""
        if record is None:
            return cls()
        names = ("classify_seconds", "disjoint_seconds", "encode_seconds", "total_seconds")
        timing = {name: record.timing[name] for name in names}
        section = record.accuracy["without_replacement"]
        disjoint = np.empty(0) if section is None else decode(section["accuracies"])
        return cls([record.accuracies], count=record.n_episodes, disjoint=disjoint, **timing)

    def cut(self, count: int, sampler: Sampler) -> None:
        """Keep the first `count` episodes and make their digest."""
        self.accuracies = [np.concatenate([*self.accuracies, np.empty(0)])[:count]]
        self.sha, self.count = hashlib.sha256(), count
        for start in range(0, count, DRAW):
            self.sha.update(sampler.draw(start, min(start + DRAW, count)).as_bytes())

    def add(self, batch: EpisodeBatch, accuracies: np.ndarray) -> None:
        """Append a chunk."""
        self.accuracies.append(accuracies)
        self.sha.update(batch.as_bytes())
        self.count += len(batch)


class _Job:
    """One evaluation from its first or resumed episode to its record."""

    def __init__(self, plan: Plan, path: Path, wanted: int, progress: Progress, started: float, done: _Done) -> None:
        self.plan, self.path, self.wanted, self.progress, self.started, self.done = plan, path, wanted, progress, started, done
        self.device = choose_device(plan.config.device)
        self.started_utc = utc_now()
        self.environment, self.code = environment(self.device), code_version()
        self.found = path.exists()  # an earlier run's partial record outlives a failure of this one
        self.learned = None if plan.learned is None else plan.learned.to(self.device)
        self.complete = False
        self.encoded: dict[str, Any] | None = None  # when and how the features were made that this run used

    def execute(self) -> RunRecord:
        """Evaluate what is missing; the record, saved where it is not complete."""
        config = self.plan.config
        split = self.plan.open_split(config.split, self.progress)
        sampler = self.plan.sampler(split)
        _check_writable(self.path)
        self.done.cut(_whole_chunks(self.done.count, config.episodes, chunk_size(self.plan.inputs)), sampler)
        kept = self.done.count, len(self.done.disjoint)
        if self.done.count:
            self.progress.say(f"resuming after {self.done.count} of {config.episodes} episodes")
        try:
            source = self._source(split)
            self._loop(sampler, source, split)
            if self.done.count >= config.episodes:
                self._disjoint(sampler, source, split)
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

    def _loop(self, sampler: Sampler, source: Source, split: Split) -> None:
        clock = _Clock()
        name = self.plan.method_section["name"]
        with self.progress.track(f"{name} on {self.plan.dataset_name}", self.wanted) as advance:
            advance(self.done.count)

            def report(batch: EpisodeBatch, accuracies: np.ndarray) -> None:
                self.done.add(batch, accuracies)
                self.done.classify_seconds += clock.lap()
                advance(len(batch))
                if clock.due(FLUSH_SECONDS):
                    write_record(self._record(split, sampler), self.path)

            evaluate(self.plan.method, name, sampler, source, self.done.count, self.wanted, report)

    def _source(self, split: Split) -> Source:
        backbone, method, clock = self.plan.backbone, self.plan.method, _Clock()
        train_mean = None
        if method.uses_train_mean:
            train = self.plan.open_split("train", self.progress)
            table, _ = feature_table(backbone, train, self.device, self.progress, self.plan.encoding)
            train_mean = table.mean()
        if self.plan.inputs == "images":
            source = Source(
                self.device,
                images=split.images,
                preprocess=backbone.preprocess,
                backbone=backbone.module.to(self.device).to(memory_format=torch.channels_last),
                tune=backbone.tune,
                learned=self.learned,
                class_names=split.class_names,
                train_mean=train_mean,
            )
        else:
            table, _ = feature_table(backbone, split, self.device, self.progress, self.plan.encoding)
            self.encoded = table.encoded
            source = Source(
                self.device,
                table=table,
                tune=backbone.tune,
                learned=self.learned,
                class_names=split.class_names,
                train_mean=train_mean,
            )
        self.done.encode_seconds += clock.lap()
        return source

    def _disjoint(self, sampler: Sampler, source: Source, split: Split) -> None:
        """Score episodes that share no image, for the interval about the data rather than this test set."""
        batch = sampler.disjoint_episodes()
        if batch is None or len(batch) < 2:
            return
        if self.plan.inputs == "images":
            batch = batch[:DISJOINT_ON_IMAGES]
        done, clock, name = self.done, _Clock(), self.plan.method_section["name"]
        done.disjoint = done.disjoint[: _whole_chunks(len(done.disjoint), len(batch), chunk_size(self.plan.inputs))]
        rest = batch[len(done.disjoint) :]
        with self.progress.track(f"{name} on {self.plan.dataset_name}, no image twice", len(batch)) as advance:
            advance(len(done.disjoint))
            for part, found in in_chunks(self.plan.method, name, rest, sampler.episode_seeds(rest.index), source):
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
        }


def _whole_chunks(done: int, wanted: int, chunk: int) -> int:
    """How many of the episodes done are kept: on the fixed grid, a chunk that was cut short is scored again as a whole."""
    return wanted if done >= wanted else done // chunk * chunk


class _Clock:
    """Seconds since the last lap, and whether something is due."""

    def __init__(self) -> None:
        self.last = self.flushed = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        return seconds

    def due(self, seconds: float) -> bool:
        """Whether so many seconds have passed since this last said so."""
        if time.perf_counter() - self.flushed < seconds:
            return False
        self.flushed = time.perf_counter()
        return True
