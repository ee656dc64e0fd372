"""The summary of all boards: for each task and setting the best method, how far the second is, and what was published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote as percent_encoded

from ..records.ranking import compare_records
from ..records.statistics import in_percent
from .board import Board, Cell, Row
from .formats import MARKDOWN, anchor_of, markdown_link, quote_text
from .markdown import Markdown, accuracy_cell, escaped, table_lines
from .quotes import Quotes, address_of
from .setting import EXTERNAL_MARK, INDUCTIVE, SETTINGS, Setting

HEADERS = (
    "dataset",
    "task",
    "setting",
    "best",
    "accuracy (%)",
    "ahead of the second by",
    "its paper (%)",
    "best published (%)",
)
NUMERIC = (False, False, False, False, True, False, False, False)


class Place(NamedTuple):
    """A row in a column of its board."""

    number: int
    row: Row
    cell: Cell


def summary_of(
    boards: Sequence[tuple[Board, Quotes]], page: Path, boards_page: Path, only_published: bool = False
) -> list[str]:
    """The lines of the summary.

    Args:
        boards: with the published numbers beside them.
        page: the file that the summary is for, from which links count.
        boards_page: the file with the boards.
        only_published: leave out the rows that no published number stands beside.
    """
    rows = []
    for board, quotes in boards:
        address = ("" if page == boards_page else link_to(boards_page, page)) + anchor_of(board.title)
        dataset = markdown_link(board.title, address)
        for column, header in enumerate(board.headers):
            task = escaped(header)
            for setting in SETTINGS:
                for external in (False, True):
                    places = _places(board, column, setting, external)
                    cells = _best(places, quotes, column, page) if places else ["", ""]
                    if any(cells[-2:]) or (places and not only_published):
                        rows.append([dataset, task, setting + EXTERNAL_MARK * external, *cells])
                        dataset = task = " "
    return table_lines(HEADERS, [list(map(Markdown, row)) for row in rows], NUMERIC) if rows else []


def _places(board: Board, column: int, setting: str, external: bool) -> list[Place]:
    """The rows of a setting in a column, best first; the method that answers by chance says nothing about a setting."""
    found = [
        Place(number, row, cell)
        for number, row in enumerate(board.rows)
        if (cell := row.cells[column]) is not None
        and (row.setting.name, row.setting.external) == (setting, external)
        and (row.setting.class_names or cell.record.method.uses_support)
    ]
    return sorted(found, key=lambda place: -place.cell.record.mean)


def _best(places: Sequence[Place], quotes: Quotes, column: int, page: Path) -> list[str]:
    first, *others = places
    name = escaped(f"{first.row.marked_method}, {first.row.network}")
    accuracy = markdown_link(accuracy_cell(first.cell.record), link_to(first.cell.path, page))
    ahead = _ahead(first, others[0]) if others else ""
    return [name, accuracy, ahead, _its_paper(first, quotes, column), _best_published(first, quotes, column)]


def _its_paper(first: Place, quotes: Quotes, column: int) -> str:
    """The published number of the method and backbone of a row; "" where there is none."""
    quoted = quotes.beside.get(first.number)
    cell = None if quoted is None else quoted.cells[column]
    return (
        ""
        if quoted is None or cell is None
        else f"{markdown_link(cell.number.kind, quoted.address)} {quote_text(cell, MARKDOWN)}"
    )


def _best_published(first: Place, quotes: Quotes, column: int) -> str:
    """The best inductive number of any method, beside an inductive row whose network was trained on the dataset."""
    if first.row.setting != Setting(INDUCTIVE):
        return ""
    top = quotes.top[column]
    return "" if top is None else f"{markdown_link(top.method, address_of(top.paper))} {MARKDOWN.quoted(top.printed)}"


def _ahead(first: Place, second: Place) -> str:
    """The paired difference to the second, with its name."""
    difference = compare_records(first.cell.record, second.cell.record)
    same = first.row.network == second.row.network
    name = second.row.marked_method if same else f"{second.row.marked_method}, {second.row.network}"
    points = in_percent(difference.mean, difference.half_width, difference.n)
    level = difference.half_width is None or difference.mean <= difference.half_width
    return escaped(f"{'not significant: ' if level else ''}{points} ({name})")


def link_to(file: Path, page: Path) -> str:
    """The address of a file within markdown, counted from the folder of a page."""
    return percent_encoded(Path(os.path.relpath(file, page.parent)).as_posix())
