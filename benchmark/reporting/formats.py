"""Boards as markdown, LaTeX and plain text, all of the same rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .board import Board, Cell, Row
from .markdown import Markdown, accuracy_cell, escaped, table_lines
from .quotes import Quote, QuoteRow, Quotes, read_at
from .setting import EXTERNAL_MARK, NAMES_MARK, TRANSDUCTIVE_MARK

CONTESTED = "≠"
LATEX = {
    "\\": r"\textbackslash{}", "±": r"$\pm$", "–": "--", CONTESTED: r"$\neq$", "~": r"\textasciitilde{}", "^": r"\^{}",
    TRANSDUCTIVE_MARK: r"\textsuperscript{\textdagger}", NAMES_MARK: r"\textsuperscript{\textdaggerdbl}",
    EXTERNAL_MARK: r"\textsuperscript{\S}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The markup of a format.

    Attributes:
        plain: of text that has none.
        best: of an accuracy that is the best of its group.
        rank: of a range of ranks.
        quoted: of a published number.
        link: of a text with an address, "" for none.
    """

    plain: Callable[[str], str]
    best: Callable[[str], str]
    rank: Callable[[str], str]
    quoted: Callable[[str], str]
    link: Callable[[str, str], str]


@dataclass(frozen=True)
class Line:
    """A row as it is printed; the name of its group stands in the first row of the group alone."""

    group: str
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """How a board is shortened. Rows stay that are best in a column, have a published number beside them, or use no support.

    Attributes:
        most: rows of a group that are shown, from the top.
        rest: where the others are found, in the markup of the format.
    """

    most: int
    rest: str


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def markdown_link(text: str, address: str) -> str:
    """A link, or the text alone where there is no address."""
    return f"[{escaped(text)}]({address})" if address else escaped(text)


MARKDOWN = Style(
    escaped, lambda text: f"**{text}**", lambda text: f"<sub>{text}</sub>", lambda text: f"*{text}*", markdown_link
)
TEXT = Style(str, lambda text: f"{text}*", lambda text: f"({text})", str, lambda text, _: text)
TEX = Style(
    _tex,
    lambda text: rf"\textbf{{{text}}}",
    lambda text: rf"\textsubscript{{{text}}}",
    lambda text: rf"\textit{{{text}}}",
    lambda text, _: _tex(text),
)


def lines_of(board: Board, quotes: Quotes, style: Style, cut: Cut | None = None) -> list[Line]:
    """The rows of a board: ours by group, each followed by what was published of it, and then the best published numbers.

    Args:
        board: our rows.
        quotes: the published numbers.
        style: the markup.
        cut: how to shorten long groups; by default every row is shown.
    """
    lines = []
    places = iter(range(len(board.rows)))
    for group, rows in board.groups.items():
        title = style.plain(group)
        quoted = [quotes.beside.get(next(places)) for _ in rows]
        left_out = [] if cut is None else _left_out(rows, quoted, cut)
        for row, quote in zip(rows, quoted, strict=True):
            if row in left_out:
                continue
            cells = tuple(_cell(cell, style) for cell in row.cells)
            lines.append(Line(title, style.plain(board.grouping.names_of(row)[1]), cells))
            title = ""
            if quote is not None:
                lines.append(Line("", _quote_name(quote, style), _quote_cells(quote, style)))
        if cut is not None and left_out:
            lines.append(Line("", f"{len(left_out)} more: {cut.rest}", _spans(left_out, style)))
    title = style.plain("best published")
    for quoted in quotes.best:
        number = quoted.first
        who = f"{number.method}, {number.backbone}" if number.backbone_stated else number.method
        name = f"{style.quoted(style.plain(who))}, {_quote_name(quoted, style)}"
        lines.append(Line(title, name, _quote_cells(quoted, style)))
        title = ""
    return lines


def _left_out(rows: Sequence[Row], quoted: Sequence[QuoteRow | None], cut: Cut) -> list[Row]:
    """The rows of a group that are counted only; a single one would take as much room."""
    found = [
        row
        for row, quote in list(zip(rows, quoted, strict=True))[cut.most :]
        if quote is None and row.records[0].method.uses_support and not any(cell and cell.best for cell in row.cells)
    ]
    return found if len(found) > 1 else []


def _spans(rows: Sequence[Row], style: Style) -> tuple[str, ...]:
    """The lowest and highest accuracy of some rows in each column, in percent."""
    columns = zip(*(row.cells for row in rows), strict=True)
    means = [[100 * cell.record.mean for cell in column if cell is not None] for column in columns]
    return tuple(style.plain(f"{min(of_column):.2f} to {max(of_column):.2f}") if of_column else "" for of_column in means)


def _cell(cell: Cell | None, style: Style) -> str:
    if cell is None:
        return ""
    accuracy = style.plain(accuracy_cell(cell.record))
    return f"{style.best(accuracy) if cell.best else accuracy} {style.rank(style.plain(str(cell.rank)))}"


def _quote_name(row: QuoteRow, style: Style) -> str:
    return f"{style.quoted(row.first.kind)} {style.link(*read_at(row.first))}"


def _quote_cells(row: QuoteRow, style: Style) -> tuple[str, ...]:
    return tuple("" if cell is None else quote_text(cell, style) for cell in row.cells)


def quote_text(quote: Quote, style: Style) -> str:
    """A published number, with a mark where reruns contest it, and how far ours lies from it: `98.8 (-0.36, below)`."""
    number = style.quoted(style.plain(quote.number.printed)) + f" {style.plain(CONTESTED)}" * quote.contested
    if quote.difference is None:
        return number
    verdict = "" if quote.verdict is None else f", {quote.verdict}"
    return f"{number} ({quote.difference:+.2f}{verdict})"


def heads_of(board: Board) -> list[str]:
    """The heads of the columns."""
    return [*board.grouping.heads, *board.headers]


def markdown_of(board: Board, quotes: Quotes, cut: Cut | None = None) -> list[str]:
    """The lines of a markdown table, whole or shortened."""
    lines = lines_of(board, quotes, MARKDOWN, cut)
    rows = [[Markdown(cell) for cell in (line.group or " ", line.name, *line.cells)] for line in lines]
    return table_lines(list(map(escaped, heads_of(board))), rows, _numeric(board))


def text_of(board: Board, quotes: Quotes) -> list[list[str]]:
    """The rows of a table in plain text."""
    return [[line.group, line.name, *line.cells] for line in lines_of(board, quotes, TEXT)]


def latex_of(board: Board, quotes: Quotes) -> list[str]:
    """The lines of a LaTeX table for the package booktabs."""
    lines = [f"% {board.title}", rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in _numeric(board))}}}"]
    lines += [r"\toprule", " & ".join(map(_tex, heads_of(board))) + r" \\"]
    for line in lines_of(board, quotes, TEX):
        lines += [r"\midrule"] if line.group or lines[-2] == r"\toprule" else []
        lines.append(" & ".join([line.group, line.name, *line.cells]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _numeric(board: Board) -> list[bool]:
    return [False, False] + [True] * len(board.headers)


def anchor_of(title: str) -> str:
    """The address of a heading within a markdown page."""
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
