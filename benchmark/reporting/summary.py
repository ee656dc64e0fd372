"""The summary of all boards: for each task and setting the best method, how far the second is, and what was published."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote as percent_encoded

from ..records.ranking import compare_records
from ..records.statistics import in_percent
from .board import Board, Cell, Row
from .formats import MARKDOWN, Style, anchor_of, quote_text
from .markdown import Markdown, accuracy_cell, table_lines
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
    """The lines of the summary in markdown.

    Args:
        boards: with the published numbers beside them.
        page: the file that the summary is for, from which links count.
        boards_page: the file with the boards.
        only_published: leave out the rows that no published number stands beside.
    """
    of_boards = "" if page == boards_page else link_to(boards_page, page)
    links = Links(MARKDOWN, lambda board: of_boards + anchor_of(board.title), lambda path: link_to(path, page))
    rows = summary_rows(boards, links, only_published)
    return table_lines(HEADERS, [list(map(Markdown, row)) for row in rows], NUMERIC) if rows else []


class Links(NamedTuple):
    """The markup of a summary, and where its links lead."""

    style: Style
    of_board: Callable[[Board], str]
    of_record: Callable[[Path], str]


def summary_rows(boards: Sequence[tuple[Board, Quotes]], links: Links, only_published: bool = False) -> list[list[str]]:
    """The rows of the summary under `HEADERS`; dataset and task stand in their first row alone, elsewhere is a space."""
    style, rows = links.style, []
    for board, quotes in boards:
        dataset = style.link(board.title, links.of_board(board))
        for column, header in enumerate(board.headers):
            task = style.plain(header)
            for setting in SETTINGS:
                for external in (False, True):
                    places = _places(board, column, setting, external)
                    cells = _best(places, quotes, column, links) if places else ["", ""]
                    if any(cells[-2:]) or (places and not only_published):
                        rows.append([dataset, task, setting + EXTERNAL_MARK * external, *cells])
                        dataset = task = " "
    return rows


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


def _best(places: Sequence[Place], quotes: Quotes, column: int, links: Links) -> list[str]:
    style, (first, *others) = links.style, places
    name = style.plain(f"{first.row.marked_method}, {first.row.network}")
    accuracy = style.link(accuracy_cell(first.cell.record), links.of_record(first.cell.path))
    ahead = style.plain(_ahead(first, others[0])) if others else ""
    return [name, accuracy, ahead, _its_paper(first, quotes, column, style), _best_published(first, quotes, column, style)]


def _its_paper(first: Place, quotes: Quotes, column: int, style: Style) -> str:
    """The published number of the method and backbone of a row; "" where there is none."""
    quoted = quotes.beside.get(first.number)
    cell = None if quoted is None else quoted.cells[column]
    return "" if quoted is None or cell is None else f"{style.link(cell.number.kind, quoted.address)} {quote_text(cell, style)}"


def _best_published(first: Place, quotes: Quotes, column: int, style: Style) -> str:
    """The best inductive number of any method, beside an inductive row whose network was trained on the dataset."""
    if first.row.setting != Setting(INDUCTIVE):
        return ""
    top = quotes.top[column]
    return "" if top is None else f"{style.link(top.method, address_of(top.paper))} {style.quoted(style.plain(top.printed))}"


def _ahead(first: Place, second: Place) -> str:
    """The paired difference to the second, with its name."""
    difference = compare_records(first.cell.record, second.cell.record)
    same = first.row.network == second.row.network
    name = second.row.marked_method if same else f"{second.row.marked_method}, {second.row.network}"
    points = in_percent(difference.mean, difference.half_width, difference.n)
    level = difference.half_width is None or difference.mean <= difference.half_width
    return f"{'not significant: ' if level else ''}{points} ({name})"


def link_to(file: Path, page: Path) -> str:
    """The address of a file within markdown, counted from the folder of a page."""
    return percent_encoded(Path(os.path.relpath(file, page.parent)).as_posix())
