"""The records of earlier runs of a plan: a finished one is not repeated, a partial one is resumed."""

from __future__ import annotations

import os
from pathlib import Path

from ...core.code_versions import code_of
from ...core.decoding import encode
from ...core.errors import UserError
from ...core.files import os_errors_named
from ...core.progress import SILENT, Progress
from ...tasks.episodes import digest
from ..records.identity import other_code
from ..records.labels import labels_of
from ..records.predictions import load_predictions
from ..records.record import RunRecord
from ..records.store import DamagedRecord, load_record
from .plan import Plan
from .planned import UNSEEN, planned
from .semantic_sampler import SemanticSampler
from .split_classes import SCHEME

PARTIAL = ".partial.json"  # an unfinished run's record, beside where the finished one will be
ANEW = "starting from the first episode"


def partial_path(plan: Plan) -> Path:
    """Where the record of an unfinished run is."""
    return plan.path().with_suffix(PARTIAL)


def check_folder(folder: Path) -> None:
    """Check that a folder can be made and written, without making it.

    Raises:
        UserError: it cannot.
    """
    with os_errors_named(f"cannot write to {folder}"):
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise UserError(f"cannot write to {folder}: {there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"cannot write to {folder}: no permission for {there}")


def finished_record(plan: Plan, progress: Progress) -> RunRecord | None:
    """The record that a plan finds finished and does not repeat; `progress` is told why one is repeated, or could be.

    Raises:
        UserError: what is at its place cannot be read, or is another run's; it is left alone.
    """
    path = plan.path()
    record = _record_at(path, plan, progress, "it is made again")
    if record is None or not record.complete:
        return None
    if other := _other_task(record, plan):
        progress.say(f"{path} may be of other {other}; it is made again")
        return None
    # Records made before this was noted do not say; then nothing is known to have changed.
    if record.backbone.preprocess is not None and _prepared_otherwise(record, plan):
        progress.say(f"{path} was made from images that were prepared otherwise; it is made again")
        return None
    if not _has_predictions(path, record, plan, progress, "it is made again"):
        return None
    if others := _of_other_code(record, plan):
        progress.say(f"{path} was made by another version of {' and '.join(others)}'s code; --overwrite repeats it")
    return record


def interrupted_record(plan: Plan, progress: Progress) -> RunRecord | None:
    """The partial record of an interrupted run of the same configuration, code and preprocessing, if it is sound.

    Raises:
        UserError: what is at its place cannot be read, or is another run's; it is left alone.
    """
    path = partial_path(plan)
    record = _record_at(path, plan, progress, ANEW)
    if record is None:
        path = plan.path()  # where a partial record may have been put, too
        record = _record_at(path, plan, SILENT, "")
    if record is None or record.complete:
        return None
    if other := _other_task(record, plan):
        progress.say(f"{path} may be of other {other}; {ANEW}")
        return None
    if _prepared_otherwise(record, plan) or _of_other_code(record, plan):
        progress.say(f"{path} was left by other code or preprocessing; {ANEW}")
        return None
    return record if _has_predictions(path, record, plan, progress, ANEW) else None


def _record_at(path: Path, plan: Plan, progress: Progress, consequence: str) -> RunRecord | None:
    """The record of a plan; None where there is none, where it is damaged, or where it is to be repeated."""
    with os_errors_named("cannot look for the record"):
        if plan.config.overwrite or not path.exists():
            return None
    try:
        record = load_record(path)
    except DamagedRecord as error:
        progress.say(f"{error}; {consequence}")
        return None
    if record.config_sha256 != plan.config_sha256():
        what, _ = labels_of([record, planned(plan)], told=UNSEEN)
        raise UserError(f"{path} is the record of another run ({what}); move it away, and run again")
    return record


def _has_predictions(path: Path, record: RunRecord, plan: Plan, progress: Progress, consequence: str) -> bool:
    """Whether a record has the predictions that a plan asks for, if it does."""
    if plan.config.keep_predictions:
        try:
            load_predictions(path, record)
        except UserError as error:
            progress.say(f"{str(error).partition(';')[0]}; {consequence}")
            return False
    return True


def _other_task(record: RunRecord, plan: Plan) -> str | None:
    """What may have changed in the files of a task since a record, in words; None: nothing. A configuration only names them."""
    split = plan.config.split
    if plan.dataset.may_differ(split, record.task.clean_fingerprint):
        return "images than those that are there now"
    for name, fingerprint in (record.task.beside or {}).items():  # older records do not say
        if plan.dataset.may_differ(name, fingerprint):
            return f"{name} images than those that are there now"
    by_file = not str(plan.sampling.parameters.get("distances")).startswith(SCHEME)
    if issubclass(plan.sampling.sampler, SemanticSampler) and by_file and plan.dataset.problem(split) is None:
        episodes = plan.sampler(plan.open_split(split, SILENT)).batches(0, record.n_episodes)
        if digest(episodes) != record.task.episodes_sha256:
            return "class distances than those that are there now"
    return None


def _prepared_otherwise(record: RunRecord, plan: Plan) -> bool:
    """Whether the images of a record were made ready in another way than those of the plan."""
    return encode(record.backbone.preprocess) != encode(plan.backbone_section().preprocess)


def _of_other_code(record: RunRecord, plan: Plan) -> list[str]:
    """The names of what a record was made with and whose code is another now."""
    codes = [
        (record.method.name, record.method.code, plan.method_section.code),
        (record.backbone.name, record.backbone.code, plan.backbone.code),
        (record.task.sampler, record.task.code, code_of(plan.sampling.sampler)),
    ]
    return [name for name, noted, now in codes if other_code(noted, now)]
