"""Running a config: find what is there already, run what is missing, write the record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.progress import Progress
from ..config import RunConfig
from ..device import choose_device, tf32
from ..records.record import RunRecord, load_record, write_record
from .choose import as_chosen_before
from .episodes_done import EpisodesDone
from .job import Job
from .plan import Plan, make_plan

PARTIAL = ".partial.json"  # an unfinished run's record, beside where the finished one will be


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
    plan = plan if earlier is None else as_chosen_before(plan, earlier)
    with tf32(choose_device(config.device), allowed=False):  # but where features are encoded with it, on demand
        record = Job(plan, partial_path, wanted, progress, started, EpisodesDone.of(earlier)).execute()
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
