"""Records on disk: one JSON file a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import UserError, one_line
from ...core.files import os_errors_named, regular_file, write_atomically
from ...core.options import shown
from . import schema
from .record import RunRecord


class DamagedRecord(UserError):
    """A file is no record, or its parts do not go together."""

    def __init__(self, path: Path, problem: object) -> None:
        """A file and what is wrong with it."""
        super().__init__(f"{path} is a damaged record: {problem}; remove it and repeat the run")


def parse_record(text: str, path: Path) -> RunRecord:
    """Read a record of this or an older schema version.

    Args:
        text: the file's content.
        path: where it came from, for messages.

    Raises:
        DamagedRecord: the text is no record.
        UserError: a newer fewbench wrote the record.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        version = content.get("schema_version")
        if isinstance(version, int) and version > schema.SCHEMA_VERSION:
            raise UserError(f"{path} is of schema version {version}, newer than this fewbench knows; upgrade fewbench")
        content = schema.migrate(content)
        del content["schema_version"]
        return RunRecord.of(content)
    except RecursionError:
        raise DamagedRecord(path, "it is nested too deeply") from None
    except ValueError as error:
        raise DamagedRecord(path, error) from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Of a key that occurs twice, readers of JSON may take either."""
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"it has the key '{shown(repeated)}' twice")
    return content


def load_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        DamagedRecord: the file is no record.
        UserError: the file cannot be read, or a newer fewbench wrote it.
    """
    with os_errors_named("cannot read record"):
        regular_file(path)
        content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedRecord(path, "it is not UTF-8 text") from error
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
        wrong.

    Raises:
        UserError: the folder is absent, or it or a folder below it cannot be read.
    """
    records, problems = [], []
    for path in sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix()):
        try:
            records.append((path, load_record(path)))
        except UserError as error:
            problems.append((path, one_line(str(error))))
    return records, problems


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    with os_errors_named("cannot read records"):
        for place, _, names in os.walk(folder, onerror=fail):
            yield from (Path(place, name) for name in names if name.endswith(".json"))
