"""Boards, as papers print them: a table a dataset, a row for method, backbone and training, a column a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...tasks.testbed_sampler import TestbedSampler
from ..records.identity import TaskKey, answerer_of, same_episodes, task_of
from ..records.labels import board_labels, training_label
from ..records.ranking import RankRange, better_than, rank_ranges
from ..records.record import RunRecord
from ..records.stages import stages_of
from ..records.task_words import FINGERPRINT_DIGITS, USUAL_TASK, task_headers, task_words
from .setting import EXTERNAL_MARK, Setting, setting_of

SEMANTIC = ("semantic", TestbedSampler.name)
Found = tuple[Path, RunRecord]
Line = dict[int, Found]  # the runs of a row by the number of their column
Column = tuple[TaskKey, str]  # a task, and the hash of its episodes where runs of equal length disagree on them, else ""


@dataclass(frozen=True)
class Cell:
    """A run on the board.

    Attributes:
        path: of the record.
        record: of the run.
        rank: among all runs of the column.
        best: whether it is the best of its group in this column, or not significantly worse.
    """

    path: Path
    record: RunRecord
    rank: RankRange
    best: bool


@dataclass(frozen=True)
class Row:
    """The runs of one method with one network.

    Attributes:
        method: name with parameters.
        backbone: name with parameters.
        training: of the weights.
        setting: what the method may use.
        cells: one for each column of the board, None where there is no run.
    """

    method: str
    backbone: str
    training: str
    setting: Setting
    cells: tuple[Cell | None, ...]

    @property
    def marked_method(self) -> str:
        """The method with the marks of its setting."""
        return self.method + self.setting.marks

    @property
    def network(self) -> str:
        """Backbone and training, with a mark where the weights are from elsewhere."""
        return f"{self.backbone}, {self.training}{EXTERNAL_MARK * self.setting.external}"

    @property
    def records(self) -> list[RunRecord]:
        """The records of its cells, at least one."""
        return [cell.record for cell in self.cells if cell is not None]


@dataclass(frozen=True)
class Grouping:
    """A way to group the rows of a board.

    Attributes:
        heads: what the names of groups and rows are.
        names_of: name of a row's group, and of the row within it.
    """

    heads: tuple[str, str]
    names_of: Callable[[Row], tuple[str, str]]


GROUPINGS = {
    "backbone": Grouping(("backbone", "method"), lambda row: (row.network, row.marked_method)),
    "method": Grouping(("method", "backbone"), lambda row: (row.marked_method, row.network)),
    "setting": Grouping(("setting", "method and backbone"), lambda row: (row.setting.name, _both(row))),
    "none": Grouping(("", "method and backbone"), lambda row: ("", _both(row))),
}


def _both(row: Row) -> str:
    return f"{row.marked_method}, {row.network}"


@dataclass(frozen=True)
class Board:
    """The runs on the same images.

    Attributes:
        title: the dataset, and what tells this board from the others.
        dataset: name of the dataset.
        tasks: the columns.
        headers: their names.
        groups: rows by the name of their group, the best first.
        grouping: how they are grouped.
    """

    title: str
    dataset: str
    tasks: tuple[TaskKey, ...]
    headers: tuple[str, ...]
    groups: Mapping[str, tuple[Row, ...]]
    grouping: Grouping

    @property
    def rows(self) -> list[Row]:
        """The rows of all groups."""
        return [row for rows in self.groups.values() for row in rows]


def boards_of(found: Iterable[Found], grouping: Grouping = GROUPINGS["backbone"]) -> list[Board]:
    """Make the boards of complete records.

    Other images, versions and splits of a dataset have boards of their own, and so have semantic tasks, corrupted images and
    conditions.

    Args:
        found: records with their paths; partial ones are left out.
        grouping: how rows are grouped.

    Returns:
        The boards by dataset; within a dataset semantic tasks come after the others, and corrupted images last.
    """
    tables: dict[tuple[Any, ...], list[Found]] = defaultdict(list)
    for path, record in found:
        if record.complete:
            tables[_table_of(record)].append((path, record))
    order = sorted(tables)
    titles = _titles([tables[key][0][1] for key in order])
    return [_board(title, tables[key], grouping) for title, key in zip(titles, order, strict=True)]


def _table_of(record: RunRecord) -> tuple[Any, ...]:
    """What all tasks of a board have in common, in an order for sorting."""
    task, key = record.task, task_of(record)
    kind = (task.dataset, key.conditions or "", task.corruption is not None, task.sampler in SEMANTIC)
    return (*kind, task.split != "test", task.split, key.dataset_version, key.dataset_parameters, task.clean_fingerprint)


def _titles(records: Sequence[RunRecord]) -> list[str]:
    """The title of each board, from one of its records."""
    images = [task_of(record)._replace(fingerprint=record.task.clean_fingerprint) for record in records]
    told = ("dataset", "split", "ways", "shots", "sampler_parameters", "conditions", *USUAL_TASK)
    titles = []
    for record, words in zip(records, task_words(images, told), strict=True):
        task = record.task
        kinds = ["semantic tasks"] * (task.sampler in SEMANTIC) + ["corrupted images"] * (task.corruption is not None)
        kinds += [] if task.conditions is None else [str(task.conditions)]
        split = [] if task.split == "test" else [f"{task.split} split"]
        titles.append(", ".join([task.dataset, *kinds, *split, *([words] if words else [])]))
    return titles


def _board(title: str, found: Sequence[Found], grouping: Grouping) -> Board:
    columns = _columns(found)
    order = sorted(columns, key=_order)
    headers = [
        f"{header}, episodes {digest}" if digest else header
        for header, (_, digest) in zip(task_headers([task for task, _ in order]), order, strict=True)
    ]
    lines = sorted(_lines([columns[column] for column in order]), key=_place)
    names = _names([next(iter(line.values()))[1] for line in lines])
    of_group: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(names):
        of_group[grouping.names_of(row)[0]].append(number)
    cells = list(zip(*(_cells(lines, column, list(of_group.values())) for column in range(len(order))), strict=True))
    rows = [replace(row, cells=of_row) for row, of_row in zip(names, cells, strict=True)]
    groups = {name: tuple(rows[number] for number in numbers) for name, numbers in of_group.items()}
    return Board(title, found[0][1].task.dataset, tuple(task for task, _ in order), tuple(headers), groups, grouping)


def _order(column: Column) -> list[tuple[bool, Any]]:
    """A sort key: usual tasks first, then by ways and shots."""
    task, digest = column
    unusual = [getattr(task, name) != usual for name, usual in USUAL_TASK.items()]
    values = (*unusual, task.sampler, task.ways, task.shots, task.queries, task.seed, task.corruption, digest)
    return [(value is None, 0 if value is None else value) for value in (*values, task.sampler_parameters)]


def _columns(found: Sequence[Found]) -> dict[Column, list[Found]]:
    """Runs by task, and where runs of equal length drew other episodes, by these."""
    tasks: dict[TaskKey, list[Found]] = defaultdict(list)
    for path, record in found:
        tasks[task_of(record)].append((path, record))
    columns: dict[Column, list[Found]] = defaultdict(list)
    for task, runs in tasks.items():
        one = same_episodes(record for _, record in runs)
        for path, record in runs:
            columns[task, "" if one else record.task.episodes_sha256[:FINGERPRINT_DIGITS]].append((path, record))
    return columns


def _lines(columns: Sequence[Sequence[Found]]) -> list[Line]:
    """The runs of each row by the number of their column.

    A row is a method with one network. Networks that were meta-trained alike for different columns share a row, as in papers.
    """
    of_answerer: dict[str, Line] = defaultdict(dict)
    for number, runs in enumerate(columns):
        for path, record in runs:
            line = of_answerer[answerer_of(record)]
            line[number] = max(line.get(number, (path, record)), (path, record), key=_weight)
    lines = list(of_answerer.values())
    alike: dict[Hashable, list[Line]] = defaultdict(list)
    for number, row in enumerate(_names([next(iter(line.values()))[1] for line in lines], told_apart=False)):
        meta_trained = all(stages_of(record).meta_trained for _, record in lines[number].values())
        alike[row if meta_trained else number].append(lines[number])
    merged: list[Line] = []
    for several in alike.values():
        together = {number: run for line in several for number, run in line.items()}
        merged += [together] if len(together) == sum(map(len, several)) else several
    return merged


def _weight(run: Found) -> tuple[int, str, str]:
    """A sort key: of several runs of one method, network and task the longest counts, of equals the latest."""
    path, record = run
    return record.n_episodes, record.timing.started_utc, path.as_posix()


def _place(line: Line) -> list[tuple[int, float, str]]:
    """A sort key: the best in the first column on top; rows without a run there below."""
    return [(number, -record.mean, path.as_posix()) for number, (path, record) in sorted(line.items())]


def _names(records: Sequence[RunRecord], told_apart: bool = True) -> list[Row]:
    """Rows without cells, one for each record."""
    trainings = [training_label(record) for record in records]
    labels = board_labels(records, trainings, told_apart)
    return [
        Row(label.method, label.backbone, training, setting_of(record), ())
        for record, label, training in zip(records, labels, trainings, strict=True)
    ]


def _cells(lines: Sequence[Line], column: int, groups: Sequence[Sequence[int]]) -> list[Cell | None]:
    """The cells of a column, one for each row."""
    there = [number for number, line in enumerate(lines) if column in line]
    runs = [lines[number][column] for number in there]
    better = better_than([record.accuracies for _, record in runs])
    place = {number: place for place, number in enumerate(there)}
    best = set[int]()
    for group in groups:
        of_group = [place[number] for number in group if number in place]
        if of_group:
            first = max(of_group, key=lambda one: runs[one][1].mean)
            best |= {one for one in of_group if not better[first, one]}
    cells: list[Cell | None] = [None] * len(lines)
    for number, (path, record), rank in zip(there, runs, rank_ranges(better), strict=True):
        cells[number] = Cell(path, record, rank, place[number] in best)
    return cells
