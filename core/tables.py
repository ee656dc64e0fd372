"""Reading the small CSV tables that users bring."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import UserError
from .files import os_errors_named, regular_file

SEPARATORS = ",;\t|"


def csv_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file in UTF-8, empty lines left out; the separator is the one that its first line has most of.

    Raises:
        UserError: it cannot be read or is no such file.
    """
    try:
        with os_errors_named("cannot read"), regular_file(path).open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            return [row for row in csv.reader(file, delimiter=max(SEPARATORS, key=first.count)) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
