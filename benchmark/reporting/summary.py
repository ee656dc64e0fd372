"""The summary of all boards: for each task and setting the best method, how far the second is, and what was published."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote as percent_encoded

from ..records.ranking import compare_records
from ..records.statistics import in_percent
from .board import Board, Cell, Row
from .formats import CONTESTED, MARKDOWN, Style, anchor_of
from .markdown import Markdown, accuracy_cell, table_lines
from .quotes import Quote, Quotes, address_of, read_at
from .setting import EXTERNAL_MARK, INDUCTIVE, MARKS, SETTINGS, Setting

HEADERS = (
    "dataset",
    "task",
    "setting",
    "method",
    "backbone and training",
    "accuracy (%)",
    "lead over the second method",
    "published for this method (%)",
    "best published of any method, inductive (%)",
)
NUMERIC = (False, False, False, False, False, True, False, False, False)
TASK, SETTING, TOP = HEADERS.index("task"), HEADERS.index("setting"), len(HEADERS) - 1
USUAL = "5-way 1-shot"  # the task that has tables of its own
OPENING = (
    "How well methods tell classes of images apart from a few examples of each (shots). Inductive methods answer each query "
    "alone. What the columns mean stands below the table."
)
KEY_OF_SETTINGS = (
    "A row is the best run of a dataset and setting; a setting without a row has no run. Inductive: each query is answered "
    f"alone. {'; '.join(f'{mark} {meaning}' for mark, meaning in MARKS.items())}. Zero-shot: no labelled examples. In "
    "brackets: parameters that are not the default ones, and how the backbone was trained, as with labels (supervised)."
)
NONE_KNOWN = "none known"
NONE_FOR_THIS = "none for this backbone"
KINDS = {"paper": "its paper", "quoted": "its paper, as quoted", "rerun": "rerun by others"}
KEY = (
    "Lead: our best minus the best run of any other method in the same setting, on the same episodes, ± the 95 % interval "
    "of that difference, before rounding. It is significant where the interval does not contain 0. The other has the same "
    "backbone and training unless they are named.",
    "Published for this method: with the same backbone, training and task; the link leads to the source. The interval of the "
    "difference is that of both numbers, or of ours alone where the source gives none. `bench list published --method NAME` "
    "has the numbers with other backbones.",
    "Best published: the best inductive number that we know, of any method and network trained on the dataset alone. The "
    "network is often larger; see it as the context.",
)


class Place(NamedTuple):
    """A row in a column of its board."""

    number: int
    row: Row
    cell: Cell


def summary_of(
    boards: Sequence[tuple[Board, Quotes]], page: Path, boards_page: Path, only_published: bool = False
) -> list[str]:
    """The lines of the summary in markdown: two tables of the usual task, and one of the others.

    Args:
        boards: with the published numbers beside them.
        page: the file that the summary is for, from which links count.
        boards_page: the file with the boards.
        only_published: one table, without the rows that no published number stands beside.
    """
    of_boards = "" if page == boards_page else link_to(boards_page, page)
    links = Links(MARKDOWN, lambda board: of_boards + anchor_of(board.title), lambda path: link_to(path, page))
    rows = summary_rows(boards, links, only_published)
    if only_published:
        return _table(rows)
    usual = [row for row in rows if row[TASK] == USUAL]
    alone, others = ([row for row in usual if (row[SETTING] == INDUCTIVE) == wanted] for wanted in (True, False))
    tables = (
        (f"{USUAL}, inductive, trained on the dataset alone", _table(alone, {TASK, SETTING})),
        (f"{USUAL}, other settings", _table(others, {TASK, TOP})),
        ("Other tasks", _table([row for row in rows if row[TASK] != USUAL])),
    )
    sections = [[f"### {title}", "", *lines] for title, lines in tables if lines]
    if sections:
        sections[0] += ["", *(f"- {text}" for text in (KEY_OF_SETTINGS, *KEY))]
    return [line for section in sections for line in (*section, "")][:-1]


def _table(rows: Sequence[Sequence[str]], same: Collection[int] = ()) -> list[str]:
    """A table of summary rows, without the columns that are the same in all of them."""
    if not rows:
        return []
    kept = [number for number in range(len(HEADERS)) if number not in same]
    made = [[Markdown(row[number]) for number in kept] for row in rows]
    return table_lines([HEADERS[number] for number in kept], made, [NUMERIC[number] for number in kept])


class Links(NamedTuple):
    """The markup of a summary, and where its links lead."""

    style: Style
    of_board: Callable[[Board], str]
    of_record: Callable[[Path], str]


def summary_rows(boards: Sequence[tuple[Board, Quotes]], links: Links, only_published: bool = False) -> list[list[str]]:
    """The rows of the summary under `HEADERS`."""
    style, rows = links.style, []
    for board, quotes in boards:
        dataset = style.link(board.title, links.of_board(board))
        for column, header in enumerate(board.headers):
            task = style.plain(header)
            for setting in SETTINGS:
                for external in (False, True):
                    places = _places(board, column, setting, external)
                    cells = _best(board, places, quotes, column, links) if places else []
                    if places and not (only_published and cells[-2] == NONE_FOR_THIS and cells[-1] in ("", NONE_KNOWN)):
                        rows.append([dataset, task, setting + EXTERNAL_MARK * external, *cells])
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


def _best(board: Board, places: Sequence[Place], quotes: Quotes, column: int, links: Links) -> list[str]:
    style, (first, *others) = links.style, places
    names = [style.plain(first.row.marked_method), style.plain(_network(first, board))]
    accuracy = style.link(accuracy_cell(first.cell.record), links.of_record(first.cell.path))
    second = next((place for place in others if place.cell.record.method.name != first.cell.record.method.name), None)
    lead = style.plain("no other method was run" if second is None else _lead(first, second, board))
    return [*names, accuracy, lead, _of_method(first, quotes, column, style), _best_published(first, quotes, column, style)]


def _of_method(first: Place, quotes: Quotes, column: int, style: Style) -> str:
    """The published number of the method and backbone of a row."""
    quoted = quotes.beside.get(first.number)
    cell = None if quoted is None else quoted.cells[column]
    if quoted is None or cell is None:
        return NONE_FOR_THIS
    number = style.quoted(style.plain(cell.number.printed))
    again = f"; {style.plain(f'{CONTESTED} others found another number')}" if cell.contested else ""
    apart = "" if cell.difference is None else f"; ours {_apart(cell.difference, cell)}"
    return f"{number} ({style.link(KINDS[cell.number.kind], read_at(cell.number)[1])}{again}){style.plain(apart)}"


def _apart(difference: float, quote: Quote) -> str:
    """How far ours lies from a published number: `0.37 ± 0.62 lower: not significant`."""
    side = "higher" if difference > 0 else "lower"
    if quote.margin is None:
        return f"{abs(difference):.2f} {side}, without an interval"
    clear = "significant" if quote.number.half_width is not None else "more than our interval"
    return f"{abs(difference):.2f} ± {quote.margin:.2f} {side}: {'not significant' if quote.verdict == 'within' else clear}"


def _best_published(first: Place, quotes: Quotes, column: int, style: Style) -> str:
    """The best inductive number of any method, beside an inductive row whose network was trained on the dataset."""
    if first.row.setting != Setting(INDUCTIVE):
        return ""
    top = quotes.top[column]
    if top is None:
        return NONE_KNOWN
    backbone = f", {style.plain(top.backbone)}" if top.backbone_stated else ""
    return f"{style.quoted(style.plain(top.printed))} ({style.link(top.method, address_of(top.paper))}{backbone})"


def _network(place: Place, board: Board) -> str:
    """Backbone and training, which is on the board's dataset unless it says another."""
    return f"{place.row.backbone}, {place.row.training.replace(f' on {board.dataset}', '')}"


def _lead(first: Place, second: Place, board: Board) -> str:
    """The paired difference to the second, with its name, and whether it is significant."""
    difference = compare_records(first.cell.record, second.cell.record)
    same = first.row.network == second.row.network
    name = second.row.marked_method if same else f"{second.row.marked_method}, {_network(second, board)}"
    points = in_percent(difference.mean, difference.half_width, difference.n)
    level = difference.half_width is None or difference.mean <= difference.half_width
    return f"+{points} over {name}: {'not significant' if level else 'significant'}"


def link_to(file: Path, page: Path) -> str:
    """The address of a file within markdown, counted from the folder of a page."""
    return percent_encoded(Path(os.path.relpath(file, page.parent)).as_posix())
