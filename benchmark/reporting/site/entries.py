"""The runs of the boards with the addresses of their pages: what the tables of the site show."""

from __future__ import annotations

import os
import shlex
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup

from ...records.identity import file_safe
from ...records.record import RunRecord
from ..board import Board, Cell, Row
from ..figures.scaling import milliseconds_an_image, parameters_of_network
from ..formats import quote_text
from ..markdown import accuracy_cell
from ..quotes import Quotes, read_at
from .markup import HTML

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Entry:
    """A run on a board.

    Attributes:
        board: the board.
        row: its row.
        column: number of its task.
        cell: the run.
        published: the published number beside it.
        page: address of its page.
    """

    board: Board
    row: Row
    column: int
    cell: Cell
    published: Markup
    page: str

    @property
    def record(self) -> RunRecord:
        """Its record."""
        return self.cell.record

    @property
    def method(self) -> str:
        """Name of the method without its parameters."""
        return self.record.method.name

    @property
    def task(self) -> str:
        """The task, as the board heads it."""
        return self.board.headers[self.column]

    @property
    def shots(self) -> str:
        """The number of shots."""
        return "varying" if self.record.task.shots is None else str(self.record.task.shots)

    @property
    def accuracy(self) -> str:
        """Mean and interval in percent."""
        return accuracy_cell(self.record)

    @property
    def parameters(self) -> int | None:
        """Parameters of the network."""
        return parameters_of_network(self.record)

    @property
    def milliseconds(self) -> float | None:
        """Time of encoding an image."""
        return milliseconds_an_image(self.record)

    @property
    def path(self) -> str:
        """The record's file, as it is typed in the folder where the site was made."""
        return shlex.quote(Path(os.path.relpath(self.cell.path)).as_posix())

    @property
    def made_by(self) -> str:
        """The command that made the record."""
        return shlex.join(self.record.argv)


def entries_of(boards: Iterable[tuple[Board, Quotes]]) -> list[Entry]:
    """The runs of all boards: board by board, task by task, the best first."""
    found = [(board, quotes, *cell) for board, quotes in boards for cell in _cells(board)]
    pages = addresses("records", {cell.path: _name(cell.record) for *_, cell in found})
    return [
        Entry(board, board.rows[place], column, cell, _published(quotes, place, column), pages[cell.path])
        for board, quotes, place, column, cell in found
    ]


def _cells(board: Board) -> list[tuple[int, int, Cell]]:
    """Row, column and run."""
    rows = enumerate(board.rows)
    cells = [(place, column, cell) for place, row in rows for column, cell in enumerate(row.cells) if cell is not None]
    return sorted(cells, key=lambda one: (one[1], one[2].rank.best, -one[2].record.mean))


def _name(record: RunRecord) -> str:
    return f"{file_safe(record.method.name)}-{file_safe(record.backbone.name)}-{record.config_sha256[:8]}"


def _published(quotes: Quotes, place: int, column: int) -> Markup:
    """The published number of the method with its source."""
    quoted = quotes.beside.get(place)
    quote = quoted.cells[column] if quoted else None
    if quote is None:
        return Markup()
    return Markup(f"{HTML.link(quote.number.kind, read_at(quote.number)[1])} {quote_text(quote, HTML)}")


def addresses(folder: str, names: Mapping[Key, str]) -> dict[Key, str]:
    """Addresses of pages within a folder of the site, none of them the same on any file system.

    Args:
        folder: name of the folder.
        names: of the pages, safe in a path, by what they are about.
    """
    found: dict[Key, str] = {}
    taken = set[str]()
    for key, name in names.items():
        free = next(one for number in range(1, len(names) + 1) if (one := _numbered(name, number)).lower() not in taken)
        taken.add(free.lower())
        found[key] = f"{folder}/{free}.html"
    return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}~{number}"  # no name of `file_safe` holds a tilde
