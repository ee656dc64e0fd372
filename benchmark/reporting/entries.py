"""The runs of a board as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from .board import Board, Cell, Row
from .quotes import Quote, Quotes


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
