"""The figures of a board: accuracy against shots, coarsity and compute, as SVG that stands within a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ..board import Board, Row
from ..figures.boards import rows_of_figure
from ..figures.coarsity import draw_coarsity
from ..figures.scaling import draw_scaling, parameters_of_network
from ..figures.shots import Line, draw_lines, uses_no_support
from ..quotes import Quotes

WIDTH = 4.2  # inches: text of 9 points stays readable on a screen of 400 pixels
MOST_POINTS = 12
TARGET = re.compile(r"url\(#([^)]*)\)")
SKIPPED = ("metadata", "style")


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Attributes:
        title: what is drawn.
        svg: the drawing.
    """

    title: str
    svg: Markup


def figures_of(board: Board, quotes: Quotes, prefix: str) -> list[Figure]:
    """The figures that the records of a board allow, of its best rows.

    Args:
        board: the board.
        quotes: published numbers beside it.
        prefix: of the ids within the drawings, which a page may hold once.
    """
    drawn = [*_against_shots(board, quotes), *_against_coarsity(board, quotes), *_against_compute(board)]
    return [Figure(title, inline(svg, f"{prefix}f{place}-", title)) for place, (title, svg) in enumerate(drawn)]


def _name(row: Row) -> str:
    return f"{row.marked_method}, {row.network}"


def _best(board: Board, quotes: Quotes, columns: Sequence[int]) -> list[Row]:
    """The best rows of some columns, with these cells alone."""
    groups = {
        name: tuple(replace(row, cells=tuple(row.cells[column] for column in columns)) for row in rows)
        for name, rows in board.groups.items()
    }
    part = replace(board, groups=groups)
    shown = rows_of_figure(part, quotes, len(columns))
    return [row for number, row in enumerate(part.rows) if number in shown and any(row.cells)]


def _against_shots(board: Board, quotes: Quotes) -> Iterator[tuple[str, bytes]]:
    alike: dict[object, list[int]] = defaultdict(list)
    for column, task in enumerate(board.tasks):
        if task.shots is not None:
            alike[task._replace(shots=None)].append(column)
    for columns in alike.values():
        if len({board.tasks[column].shots for column in columns}) > 1:
            rows = _best(board, quotes, columns)
            lines = [Line(tuple(row.records), uses_no_support(row.records[0])) for row in rows]
            ways = f", {board.tasks[columns[0]].ways}-way" if len(alike) > 1 else ""
            yield f"Accuracy against shots{ways}", draw_lines(lines, list(map(_name, rows)), width=WIDTH)


def _against_coarsity(board: Board, quotes: Quotes) -> Iterator[tuple[str, bytes]]:
    for column, header in enumerate(board.headers):
        rows = [row for row in _best(board, quotes, [column]) if row.records[0].coarsities is not None]
        if rows:
            records, names = [row.records[0] for row in rows], list(map(_name, rows))
            yield f"Accuracy against coarsity, {header}", draw_coarsity(records, names=names, width=WIDTH)


def _against_compute(board: Board) -> Iterator[tuple[str, bytes]]:
    """The best run of each backbone and training in the first column."""
    best = []
    for rows in board.groups.values():
        cells = [(cell.record, row) for row in rows if (cell := row.cells[0]) and cell.record.method.uses_support]
        known = [one for one in cells if parameters_of_network(one[0]) is not None]
        best += [max(known, key=lambda one: one[0].mean)] if known else []
    best = sorted(best, key=lambda one: -one[0].mean)[:MOST_POINTS]
    if len({parameters_of_network(record) for record, _ in best}) > 1:
        names = [_name(row) for _, row in best]
        title = f"Accuracy against compute, {board.headers[0]}: the best method of each backbone"
        yield title, draw_scaling([record for record, _ in best], names=names, width=WIDTH)


def inline(svg: bytes, prefix: str, title: str) -> Markup:
    """An SVG file as a part of a page: without what a page says itself, and with ids of its own.

    Args:
        svg: the file.
        prefix: of its ids.
        title: what is drawn, for those who do not see it.
    """
    root = ElementTree.fromstring(svg)
    for parent in [*root.iter()]:
        for child in [*parent]:
            if child.tag.rpartition("}")[2] in SKIPPED:
                parent.remove(child)
        parent.tag = parent.tag.rpartition("}")[2]
        for name, value in [*parent.attrib.items()]:
            del parent.attrib[name]
            name = name.rpartition("}")[2]
            if name == "id":
                value = prefix + value
            elif name == "href":
                value = value.replace("#", f"#{prefix}", 1)
            else:
                value = TARGET.sub(rf"url(#{prefix}\1)", value)
            parent.set(name, value)
    root.attrib |= {"role": "img", "aria-label": title}
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(text.replace("fill: #ffffff", "fill: none").replace("stroke: #e6e6e6", "stroke: var(--grid)"))
