"""Markdown: cells and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..records.record import RunRecord
from ..records.statistics import in_percent

EMPTY = "–"
USUAL_LEVEL = 0.95


class Markdown(str):
    """Text that is markdown already."""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        heads: of the columns.
        rows: cells of each row.
        numeric: of each column, whether it is aligned to the right.
        folded: what the reader opens to see the table, where it is long; "" shows it.
    """

    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numeric: tuple[bool, ...]
    folded: str = ""


def accuracy_cell(record: RunRecord) -> str:
    """Mean and half-width in percent, with the level of the interval where that is not 95 %."""
    level = record.accuracy.level
    cell = in_percent(record.mean, record.half_width, record.n_episodes)
    return cell if level == USUAL_LEVEL else f"{cell} ({100 * level:g} %)"


def escaped(text: str) -> str:
    """Text as one line that markdown shows unchanged (a name may hold `|`, or look like a marker)."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """The lines of a table; an empty cell becomes a dash.

    Args:
        headers: markdown of the headers.
        rows: texts of the cells, which are escaped unless they are `Markdown`.
        numeric: for each column whether it is aligned to the right.
    """
    rules = ["---:" if right else "---" for right in numeric]
    cells = [[(cell if isinstance(cell, Markdown) else escaped(cell)) or EMPTY for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (headers, rules, *cells)]
