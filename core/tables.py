"""Reading the small CSV tables of users."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from .errors import UserError
from .files import os_errors_named, regular_file

SEPARATORS = ",;\t|"


def csv_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file in UTF-8, without empty lines. The separator is the most frequent one in the first line.

    Raises:
        UserError: the file cannot be read, or is not a CSV file in UTF-8.
    """
    try:
        with os_errors_named("cannot read"), regular_file(path).open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            if told := re.fullmatch(r"sep=(.)\s*", first):  # Excel's first line
                first = told[1]
            else:
                file.seek(0)
            return [row for row in csv.reader(file, delimiter=max(SEPARATORS, key=first.count)) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
