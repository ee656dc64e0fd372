"""Published numbers beside a board: what the papers of its methods say, and the best that was published."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import quote as percent_encoded
from urllib.parse import urlsplit

from ..built_in import META_TRAINED
from ..published.beside import Beside, Verdict, margin_of, published_beside, verdict_of
from ..published.number import PublishedNumber
from ..records.identity import TaskKey
from ..records.record import RunRecord
from ..records.stages import stages_of
from .board import Board, Cell, Row
from .setting import CLASS_NAMES, INDUCTIVE

BEST = 3  # rows of the best published numbers below a board
TRAIN_CLASSES = "train-classes"
ARXIV = re.compile(r"\d{4}\.\d{4,5}")
FILE = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40}):(.+)")


@dataclass(frozen=True)
class Quote:
    """A published number, beside a run of ours where there is one.

    Attributes:
        number: the published number.
        contested: whether a rerun by others differs from it by more than both intervals.
        ours: our run of the same method, backbone and task.
    """

    number: PublishedNumber
    contested: bool = False
    ours: RunRecord | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus published, in percentage points."""
        return None if self.ours is None else 100 * self.ours.mean - self.number.accuracy

    @property
    def margin(self) -> float | None:
        """The half-width that both intervals give the difference, in percentage points; None without an interval of ours."""
        if self.ours is None or self.ours.half_width is None:
            return None
        return margin_of(100 * self.ours.half_width, self.number.half_width)

    @property
    def verdict(self) -> Verdict | None:
        """`within` both intervals, `above` or `below` them."""
        difference, margin = self.difference, self.margin
        return None if difference is None or margin is None else verdict_of(difference, margin)


@dataclass(frozen=True)
class QuoteRow:
    """Published numbers of one method and backbone.

    Attributes:
        cells: one for each column of the board, None where nothing was published.
    """

    cells: tuple[Quote | None, ...]

    @property
    def first(self) -> PublishedNumber:
        """The number that names the row."""
        return next(cell.number for cell in self.cells if cell is not None)


def address_of(where: str) -> str:
    """The web address of a paper, or of a file that is given as owner/repository@commit:path; "" where unknown."""
    if ARXIV.fullmatch(where):
        return f"https://arxiv.org/abs/{where}"
    if file := FILE.fullmatch(where):
        return f"https://github.com/{file[1]}/blob/{file[2]}/{percent_encoded(file[3])}"
    return where if where.startswith("http") else ""


def read_at(number: PublishedNumber) -> tuple[str, str]:
    """A short name and the address of what prints a number: its paper, or the source that quotes it or ran it again."""
    where = (number.paper or number.source) if number.kind == "paper" else number.source
    file, paper = FILE.fullmatch(where), ARXIV.search(where)
    name = file[1] if file else paper[0] if paper else urlsplit(where).netloc or where
    return name, address_of(where)


@dataclass(frozen=True)
class Quotes:
    """The published numbers beside a board.

    Attributes:
        beside: those of the same method, backbone and setting, by the number of our row.
        best: rows of the best published numbers that are not beside a row of ours.
        top: for each column the best inductive number of a paper, of any method and backbone trained on the dataset alone.
    """

    beside: dict[int, QuoteRow]
    best: tuple[QuoteRow, ...]
    top: tuple[PublishedNumber | None, ...]


def quotes_of(boards: Sequence[Board], numbers: Sequence[PublishedNumber]) -> list[Quotes]:
    """Find the published numbers that belong to each board.

    A published number stands beside one run of ours, the best of its method, backbone, setting and task. A method that papers
    train on episodes is compared with them as trained on episodes alone.

    Args:
        boards: all boards.
        numbers: all of the table of published numbers.
    """
    return [_quotes(board, numbers) for board in boards]


def _quotes(board: Board, numbers: Sequence[PublishedNumber]) -> Quotes:
    rows = {place: row for place, row in enumerate(board.rows) if _comparable(row.records[0])}
    found: dict[int, list[Quote | None]] = {}
    told = set[str]()
    for column, task in enumerate(board.tasks):
        best: dict[tuple[str, ...], tuple[int, Cell]] = {}  # of each experiment
        for place, row in rows.items():
            cell = row.cells[column]
            if cell is not None:
                experiment = (cell.record.method.name, cell.record.backbone.name, row.setting.name)
                known = best.setdefault(experiment, (place, cell))
                if cell.record.mean > known[1].record.mean:
                    best[experiment] = place, cell
        for place, cell in best.values():
            quote = _beside(task, cell, rows[place], numbers)
            if quote is not None:
                found.setdefault(place, [None] * len(board.tasks))[column] = quote
                told.add(cell.record.method.name)
    beside = {place: QuoteRow(tuple(cells)) for place, cells in sorted(found.items())}
    top = tuple(next(iter(_inductive(task, numbers)), None) for task in board.tasks)
    return Quotes(beside, _best(board, numbers, told), top)


def _comparable(record: RunRecord) -> bool:
    """Whether a run is what papers report: trained on the train classes, on episodes where its method is."""
    stages = stages_of(record)
    seen = record.backbone.pretraining
    of_dataset = seen is not None and not seen.external and stages.in_domain
    return of_dataset and (stages.meta_trained or record.method.name not in META_TRAINED)


def _beside(task: TaskKey, cell: Cell, row: Row, numbers: Sequence[PublishedNumber]) -> Quote | None:
    """What was published of the method and backbone of a cell."""
    record = cell.record
    setting = INDUCTIVE if row.setting.name == CLASS_NAMES else row.setting.name
    found = [
        one
        for one in _of_task(task, numbers, record.method.name, record.backbone.name)
        if (one.number.setting, one.number.pretraining) == (setting, TRAIN_CLASSES)
    ]
    return _quote(found, record)


def _best(board: Board, numbers: Sequence[PublishedNumber], told: Collection[str]) -> tuple[QuoteRow, ...]:
    """The best inductive numbers of the board's first task whose training saw its train classes alone."""
    best: dict[str, PublishedNumber] = {}
    for number in _inductive(board.tasks[0], numbers):
        if number.method not in told:
            best.setdefault(number.method, number)
    rows = []
    for number in list(best.values())[:BEST]:
        alike = (number.setting, number.pretraining, number.paper)
        cells = [
            _quote([
                one
                for one in _of_task(task, numbers, number.method, number.backbone)
                if (one.number.setting, one.number.pretraining, one.number.paper) == alike
            ])
            for task in board.tasks
        ]  # fmt: skip
        rows.append(QuoteRow(tuple(cells)))
    return tuple(rows)


def _inductive(task: TaskKey, numbers: Sequence[PublishedNumber]) -> list[PublishedNumber]:
    """The inductive numbers that papers give for a task, of networks trained on the dataset alone; best first."""
    found = [one.number for one in _of_task(task, numbers)]
    return [one for one in found if one.kind == "paper" and one.setting == INDUCTIVE and not one.external]


def _of_task(
    task: TaskKey, numbers: Sequence[PublishedNumber], method: str | None = None, backbone: str | None = None
) -> list[Beside]:
    """The published numbers of a usual task on clean test images; one that does not say its queries may be of any."""
    if task.split != "test" or task.corruption is not None or task.conditions is not None:
        return []
    found = published_beside(numbers, task.dataset, task.ways, task.shots, method, backbone, task.sampler)
    return [one for one in found if one.number.queries in (None, task.queries)]


def _quote(found: Sequence[Beside], ours: RunRecord | None = None) -> Quote | None:
    """The first of published numbers of one experiment."""
    if not found:
        return None
    number = found[0].number
    return Quote(number, any(one.apart and one.own is number for one in found), ours)
