"""The table of published numbers, results/published.csv: data like records, read and checked row by row."""

from __future__ import annotations

import csv
from pathlib import Path

from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file
from .number import PublishedNumber

FILE = "published.csv"  # in a results folder
SHIPPED = Path(__file__).parents[2] / "results" / FILE
COLUMNS = (
    "method", "backbone", "pretraining", "dataset", "sampler", "ways", "shots", "queries", "accuracy", "half_width", "setting",
    "kind", "protocol", "paper", "table", "source", "printed_method", "printed_backbone", "printed_pretraining",
    "printed_dataset",
)  # fmt: skip


def published_numbers(results: Path) -> list[PublishedNumber]:
    """The published numbers of a results folder, in the order of the file; where it has no such file, those of the package.

    Raises:
        UserError: as `read_published` does.
    """
    path = results / FILE
    return read_published(path if path.exists() else SHIPPED)


def read_published(path: Path) -> list[PublishedNumber]:
    """Read a table of published numbers.

    Raises:
        UserError: the file cannot be read or has other columns, a row is not right, or two are the same; names file and line.
    """
    numbers: list[PublishedNumber] = []
    lines: dict[tuple[object, ...], int] = {}
    try:
        with os_errors_named("cannot read"), regular_file(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != COLUMNS:
                raise UserError(f"{path}, line 1: the columns are not {', '.join(COLUMNS)}")
            for row in reader:
                number = _number(row, path, reader.line_num)
                earlier = lines.setdefault(number.key, reader.line_num)
                if earlier != reader.line_num:
                    raise UserError(f"{path}, line {reader.line_num}: the same row as line {earlier}; take one of them out")
                numbers.append(number)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    return numbers


def _number(row: list[str], path: Path, line: int) -> PublishedNumber:
    if len(row) != len(COLUMNS):
        raise UserError(f"{path}, line {line}: {len(row)} values for {len(COLUMNS)} columns")
    try:
        return PublishedNumber.of(dict(zip(COLUMNS, row, strict=True)))
    except ValueError as error:
        raise UserError(f"{path}, line {line}: {error}") from error
