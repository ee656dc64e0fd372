"""Files of class names: CSV with a column of identifiers and one of names, or the identifier and then the name on each line.

The second form is that of the `classnames.txt` that go with CLIP's tools: `n01440764 tench`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ...core.errors import UsageError, UserError
from ...core.files import os_errors_named, regular_file
from ...core.tables import csv_rows

COLUMNS = ("class_id", "name")
AFTER = r"[\s,;:]"  # an identifier
IDS = ("class_id", "classid", "id", "wnid", "synset", "wordnet_id", "class", "folder", "label")
NAMES = ("name", "class_name", "classname", "readable_name", "words", "text")


def names_of_file(file: Path, class_ids: Collection[str]) -> dict[str, str]:
    """The names that a file gives, by class.

    Args:
        file: the file.
        class_ids: of the split; they show where an identifier ends.

    Raises:
        UsageError: the file is of no known form, or a class in it has no name or two.
        UserError: it cannot be read.
    """
    names: dict[str, str] = {}
    for class_id, words in _pairs(file, class_ids):
        name = " ".join(words.split())
        if not name:
            raise UsageError(f"--class-names {file}: class {class_id} has an empty name")
        if names.setdefault(class_id, name) != name:
            raise UsageError(f"--class-names {file}: class {class_id} has two names, {names[class_id]} and {name}")
    return names


def _pairs(file: Path, class_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    header, *rows = csv_rows(file) or [[]]
    header = [column.strip() for column in header]
    places = _places(header)
    if places is None:
        yield from _by_lines(file, header, class_ids)
        return
    for row in rows:
        if len(row) != len(header):
            raise UsageError(f"--class-names {file}: {','.join(row)[:60]} is not {len(header)} columns as its first line is")
        yield row[places[0]].strip(), row[places[1]]


def _places(header: list[str]) -> tuple[int, int] | None:
    """The columns of identifiers and names; None where the first line does not name both, each once."""
    lowered = [column.lower().replace(" ", "_") for column in header]
    found = [next((lowered.index(one) for one in known if lowered.count(one) == 1), None) for known in (IDS, NAMES)]
    repeated = any(lowered.count(column) > 1 for column in COLUMNS)
    return None if repeated or found[0] is None or found[1] is None else (found[0], found[1])


def _by_lines(file: Path, header: list[str], class_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """An identifier and a name on each line, where the first words of some line are a class of the split."""
    try:
        with os_errors_named("cannot read"):
            lines = [line.strip() for line in regular_file(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text ({error})") from error
    found = {line: _class_of(line, class_ids) for line in lines}
    if not any(found.values()) or set(COLUMNS) & set(header):
        raise UsageError(
            f"--class-names {file}: its first line does not name the columns {' and '.join(COLUMNS)}, but "
            f"{', '.join(header)[:60]}; nor do lines begin with a class of this split and go on with its name"
        )
    for line, class_id in found.items():
        identifier = class_id or re.split(AFTER, line, maxsplit=1)[0]
        yield identifier, re.sub(rf"^{AFTER}+", "", line[len(identifier) :])


def _class_of(line: str, class_ids: Collection[str]) -> str | None:
    """The class that a line begins with; an identifier may have spaces, and be the beginning of another."""
    known = [one for one in class_ids if line.startswith(one) and re.match(AFTER, line[len(one) :])]
    return max(known, key=len, default=None)
