"""Records on disk: one JSON file a run."""

from __future__ import annotations

import json
from pathlib import Path

from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file, sweep, write_atomically
from . import schema
from .record import RunRecord

LARGEST = 2**28  # bytes of a record's file


class NewerRecord(UserError):
    """A record was written by a newer fewbench, which may read what this one does not."""


def parse_record(text: str, path: Path) -> RunRecord:
    """Read a record of this or an older schema version.

    Args:
        text: the file's content.
        path: where it came from, for messages.

    Raises:
        NewerRecord: it was written by a newer fewbench.
        UserError: it is damaged.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        version = content.get("schema_version")
        if isinstance(version, int) and version > schema.SCHEMA_VERSION:
            raise NewerRecord(f"{path} is of schema version {version}, newer than this fewbench knows; upgrade fewbench")
        content = schema.migrate(content)
        del content["schema_version"]
        return RunRecord.of(content)
    except RecursionError:
        raise UserError(f"{path} is a damaged record: it is nested too deeply; remove it and repeat the run") from None
    except ValueError as error:
        raise UserError(f"{path} is a damaged record: {error}; remove it and repeat the run") from error


def load_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        NewerRecord: it was written by a newer fewbench.
        UserError: the file cannot be read, or is damaged.
    """
    with os_errors_named("cannot read record"):
        regular_file(path)
        content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is a damaged record: it is not UTF-8 text; remove it and repeat the run") from error
    return parse_record(text, path)


def write_record(record: RunRecord, path: Path) -> None:
    """Write a record so that a reader sees all of it or none.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    write_atomically(path, record.to_json().encode("utf-8"))


def load_records(folder: Path) -> tuple[list[tuple[Path, RunRecord]], list[tuple[Path, str]]]:
    """Read every `*.json` below a folder, in the order of their paths within it.

    Returns:
        The sound records with their paths, and the paths of the others, each with one line that names it and says what is
        wrong. A folder that is not there has neither.
    """
    records, problems = [], []
    paths = sorted(folder.rglob("*.json"), key=lambda path: path.relative_to(folder).as_posix())
    for place in {path.parent for path in paths}:
        sweep(place)  # what killed runs were writing
    for path in paths:
        try:
            records.append((path, load_record(path)))
        except UserError as error:
            problems.append((path, str(error)))
    return records, problems
