"""Boards as markdown, LaTeX, CSV, JSON and plain text, all of the same rows."""

from __future__ import annotations

import csv
import io
import json
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


def lines_of(board: Board, quotes: Quotes, style: Style) -> list[Line]:
    """The rows of a board: ours by group, each followed by what was published of it, and then the best published numbers."""
    lines = []
    place = 0
    for group, rows in board.groups.items():
        title = style.plain(group)
        for row in rows:
            cells = tuple(_cell(cell, style) for cell in row.cells)
            lines.append(Line(title, style.plain(board.grouping.names_of(row)[1]), cells))
            title = ""
            if (quoted := quotes.beside.get(place)) is not None:
                lines.append(Line("", _quote_name(quoted, style), _quote_cells(quoted, style)))
            place += 1
    title = style.plain("best published")
    for quoted in quotes.best:
        number = quoted.first
        who = f"{number.method}, {number.backbone}" if number.backbone_stated else number.method
        name = f"{style.quoted(style.plain(who))}, {_quote_name(quoted, style)}"
        lines.append(Line(title, name, _quote_cells(quoted, style)))
        title = ""
    return lines


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


def markdown_of(board: Board, quotes: Quotes) -> list[str]:
    """The lines of a markdown table."""
    lines = lines_of(board, quotes, MARKDOWN)
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


@dataclass(frozen=True)
class Entry:
    """One run of a board, as CSV and JSON have it; accuracies and half-widths are percent."""

    board: str
    dataset: str
    task: str
    method: str
    backbone: str
    training: str
    setting: str
    accuracy: float
    half_width: float | None
    level: float
    rank_best: int
    rank_worst: int
    best_of_group: bool
    episodes: int
    published: float | None
    published_half_width: float | None
    published_kind: str | None
    verdict: str | None
    record: str


def entries_of(board: Board, quotes: Quotes) -> list[Entry]:
    """Every run of a board."""
    entries = []
    for place, row in enumerate(board.rows):
        quoted = quotes.beside.get(place)
        published = [None] * len(row.cells) if quoted is None else quoted.cells
        for header, cell, quote in zip(board.headers, row.cells, published, strict=True):
            if cell is not None:
                entries.append(_entry(board, row, header, cell, quote))
    return entries


def _entry(board: Board, row: Row, header: str, cell: Cell, quote: Quote | None) -> Entry:
    record = cell.record
    return Entry(
        board=board.title,
        dataset=board.dataset,
        task=header,
        method=row.method,
        backbone=row.backbone,
        training=row.training,
        setting=row.setting.name,
        accuracy=round(100 * record.mean, 4),
        half_width=None if record.half_width is None else round(100 * record.half_width, 4),
        level=record.accuracy.level,
        rank_best=cell.rank.best,
        rank_worst=cell.rank.worst,
        best_of_group=cell.best,
        episodes=record.n_episodes,
        published=None if quote is None else quote.number.accuracy,
        published_half_width=None if quote is None else quote.number.half_width,
        published_kind=None if quote is None else quote.number.kind,
        verdict=None if quote is None else quote.verdict,
        record=cell.path.as_posix(),
    )


def csv_of(entries: Sequence[Entry]) -> str:
    """Entries as CSV; what is absent is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(vars(entries[0])) if entries else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(vars, entries))
    return text.getvalue()


def json_of(entries: Sequence[Entry]) -> str:
    """Entries as a JSON list."""
    return json.dumps(list(map(vars, entries)), indent=1, ensure_ascii=False) + "\n"


def anchor_of(title: str) -> str:
    """The address of a heading within a markdown page."""
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
