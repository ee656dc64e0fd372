"""What earlier runs of a plan left: a finished record that is not repeated, or a partial one that is gone on from."""

from __future__ import annotations

import os
from pathlib import Path

from ...core.errors import UserError
from ...core.files import os_errors_named
from ...core.progress import Progress
from .. import registry
from ..records.identity import other_code
from ..records.record import RunRecord
from ..records.store import load_record
from .plan import Plan

PARTIAL = ".partial.json"  # an unfinished run's record, beside where the finished one will be


def partial_path(plan: Plan) -> Path:
    """Where the record of an unfinished run is."""
    return plan.path().with_suffix(PARTIAL)


def check_folder(folder: Path) -> None:
    """Make sure, without making anything, that a folder can be made and written.

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
    """The record that a plan finds finished and does not repeat; `progress` is told why one is repeated, or could be."""
    path = plan.path()
    with os_errors_named("cannot look for the record"):
        if plan.config.overwrite or not path.exists():
            return None
    try:
        record = load_record(path)
    except UserError as error:
        progress.say(f"{error}; it is made again")
        return None
    now = plan.backbone_section()
    # Records made before these were noted do not say; then nothing is known to have changed.
    if record.content["backbone"].get("preprocess", now["preprocess"]) != now["preprocess"]:
        progress.say(f"{path} was made from images that were prepared otherwise; it is made again")
        return None
    if others := _of_other_code(record, plan):
        progress.say(f"{path} was made by another version of {' and '.join(others)}'s code; --overwrite repeats it")
    return record


def interrupted_record(plan: Plan, progress: Progress) -> RunRecord | None:
    """What an interrupted run of the same configuration, code and preprocessing left, if it is sound."""
    path = partial_path(plan)
    if plan.config.overwrite or not path.exists():
        return None
    try:
        record = load_record(path)
    except UserError as error:
        progress.say(f"{error}; starting from the first episode")
        return None
    now = plan.backbone_section()
    same = record.content["backbone"].get("preprocess") == now["preprocess"] and not _of_other_code(record, plan)
    if not same or record.config_sha256 != plan.config_sha256():
        progress.say(f"{path} was left by other code or preprocessing; starting from the first episode")
        return None
    return record


def _of_other_code(record: RunRecord, plan: Plan) -> list[str]:
    """The names of what a record was made with and whose code is another now."""
    codes = {
        record.method.name: (record.method.code, plan.method_section["code"]),
        record.backbone.name: (record.backbone.code, plan.backbone.code),
        record.task.sampler: (record.task.code, registry.code_of(plan.sampling.sampler)),
    }
    return [name for name, (noted, now) in codes.items() if other_code(noted, now)]
