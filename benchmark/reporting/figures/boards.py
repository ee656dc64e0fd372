"""The figure of a board: accuracies with their intervals, a row for each of the best methods, a panel for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...records.statistics import FEWEST
from ..board import Board, Row
from ..quotes import QuoteRow, Quotes
from ..setting import MARKS
from .canvas import colours_of, figure_bytes, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS, MOST_PANELS = 12, 3
NAMES_WIDTH, PANEL_WIDTH, LINE_HEIGHT, REST_HEIGHT = 3.0, 2.2, 0.2, 1.1  # inches
LONGEST_NAME, LONGEST_TITLE, LONGEST_NOTE = 46, 30, 110  # characters that fit


@dataclass(frozen=True)
class Entry:
    """A row of the figure, or the name of a group above its rows.

    Attributes:
        place: of its middle on the vertical axis, in lines of text from the top.
        name: in lines.
        row: of the board; None for a group.
        quoted: published numbers of the row.
    """

    place: float
    name: str
    row: Row | None = None
    quoted: QuoteRow | None = None


def draw_board(board: Board, quotes: Quotes, form: str = "svg") -> bytes:
    """Draw the best rows of a board in its first columns.

    Args:
        board: the board.
        quotes: published numbers beside it, drawn as hollow diamonds.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same board and version of matplotlib, whatever the user's settings.
    """
    panels = min(len(board.headers), MOST_PANELS)
    entries, lines = _entries(board, quotes, panels)
    colours = colours_of(row.records[0].method.name for row in board.rows)
    note = wrapped(_note(board, quotes, entries), LONGEST_NOTE)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        for column, panel in enumerate(axes):
            _draw_panel(panel, entries, column, colours)
            panel.set_title(wrapped(board.headers[column], LONGEST_TITLE), fontsize=9, fontweight="bold")
            panel.set_xlabel("accuracy (%)")
        axes[0].set_yticks([entry.place for entry in entries], [entry.name for entry in entries])
        axes[0].set_ylim(lines, 0)  # the first on top
        for label, entry in zip(axes[0].get_yticklabels(), entries, strict=True):
            label.set_fontweight("bold" if entry.row is None else "normal")
        figure.supxlabel(note, fontsize=8)

    height = REST_HEIGHT + LINE_HEIGHT * (lines + note.count("\n"))
    return figure_bytes((NAMES_WIDTH + PANEL_WIDTH * panels, height), paint, form)


def rows_of_figure(board: Board, quotes: Quotes, panels: int) -> set[int]:
    """The numbers of the rows that a figure shows: as many as are readable, half of them for those beside published numbers."""
    there = [
        (number, cells)
        for number, row in enumerate(board.rows)
        if any(cells := row.cells[:panels]) and (row.setting.class_names or row.records[0].method.uses_support)
    ] or [(number, row.cells) for number, row in enumerate(board.rows)]
    order = sorted(there, key=lambda one: [(cell is None, -cell.record.mean if cell else 0.0) for cell in one[1]])
    numbers = [number for number, _ in order]
    quoted = [number for number in numbers if number in quotes.beside][: MOST_ROWS // 2]
    return {*quoted, *[number for number in numbers if number not in quoted][: MOST_ROWS - len(quoted)]}


def _entries(board: Board, quotes: Quotes, panels: int) -> tuple[list[Entry], int]:
    """The entries from top to bottom, and their lines of text."""
    shown = rows_of_figure(board, quotes, panels)
    entries: list[Entry] = []
    lines = number = 0

    def add(name: str, row: Row | None = None) -> None:
        nonlocal lines
        text = wrapped(name, LONGEST_NAME)
        size = 1 + text.count("\n")
        entries.append(Entry(lines + size / 2, text, row, None if row is None else quotes.beside.get(number)))
        lines += size

    for group, rows in board.groups.items():
        named = not group
        for row in rows:
            if number in shown:
                if not named:
                    add(group)
                    named = True
                add(board.grouping.names_of(row)[1], row)
            number += 1
    return entries, lines


def _note(board: Board, quotes: Quotes, entries: list[Entry]) -> str:
    """What the marks mean, and what is not drawn."""
    shown = sum(entry.row is not None for entry in entries)
    texts = "".join(entry.name for entry in entries)
    said = ["dots: ours with 95 % intervals, often narrower than the dot"]
    said += ["diamonds: published"] if any(entry.quoted for entry in entries) else []
    said += [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in texts]
    others = ", and those beside published numbers" if quotes.beside else ""
    said += [f"{shown} of {len(board.rows)} rows, the best{others}"] if shown < len(board.rows) else []
    return "; ".join(said)


def _draw_panel(panel: Axes, entries: list[Entry], column: int, colours: dict[str, str]) -> None:
    for entry in entries:
        quoted = entry.quoted.cells[column] if entry.quoted else None
        if quoted is not None:
            panel.plot(quoted.number.accuracy, entry.place, "D", color="0.35", fillstyle="none", markersize=6)
        cell = entry.row.cells[column] if entry.row else None
        if cell is not None:
            record = cell.record
            half_width = record.half_width if record.n_episodes >= FEWEST else None
            panel.errorbar(
                100 * record.mean,
                entry.place,
                xerr=100 * (half_width or 0.0),
                fmt="o",
                color=colours[record.method.name],
                markersize=5,
                capsize=3,
            )
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
