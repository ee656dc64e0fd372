"""Tables and figures of how far the answers of trainings differ that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from ..records.identity import task_of
from ..records.labels import Label, labels_of
from ..records.record import RunRecord
from ..records.task_words import task_headers
from .figures.differences import draw_differences
from .markdown import Table, table_lines
from .pivot import Query
from .report.prediction_difference import Difference, differences_of

HEADS = ("method", "backbone", "task", "trainings", "accuracy (%)", "mean confidence (%)", "relative prediction difference (%)",
         "churn (%)")  # fmt: skip
NUMERIC = (False, False, False, True, True, True, True, True)


@dataclass(frozen=True)
class Differences:
    """The differences of recipes, what their runs are called, and their tasks in words."""

    found: list[Difference]
    labels: list[Label]
    tasks: list[str]

    @property
    def table(self) -> Table:
        """A row for each recipe."""
        rows = []
        for one, label, task in zip(self.found, self.labels, self.tasks, strict=True):
            shares = (str(one.accuracy), f"{100 * one.confidence:.2f}", str(one.relative), str(one.churn))
            rows.append((label.method, label.backbone, task, str(len(one.trainings.seeds)), *shares))
        return Table(HEADS, rows, NUMERIC)

    def drawn(self, form: str = "svg") -> bytes:
        """The figure of the differences against accuracy, as a file of a form."""
        return draw_differences(self.found, self.labels, self.tasks, form)


def described(loaded: Sequence[tuple[Path, RunRecord]]) -> Differences:
    """The differences of records, each with its file; sorted by methods, tasks and backbones.

    Raises:
        UserError: no two records are of such trainings, or one of them did not keep its answers.
    """
    found = differences_of(loaded)
    if not found:
        raise UsageError(
            "no two of the records differ in the seed of their training alone; train several times "
            "(bench train --seeds 5, or bench pretrain --seed N) and run each with --keep-predictions"
        )
    first = [loaded[one.trainings.places[0]][1] for one in found]
    heads = task_headers(list(map(task_of, first)))
    tasks = [f"{record.task.dataset}, {head}" for record, head in zip(first, heads, strict=True)]
    labels = labels_of(first, beside=tasks)  # weights are the seeds' own, and no part of what a row is called
    order = sorted(range(len(found)), key=lambda place: (labels[place].method, tasks[place], labels[place].backbone))
    return Differences([found[one] for one in order], [labels[one] for one in order], [tasks[one] for one in order])


def differences_part(query: str, results: Path) -> list[str]:
    """The lines of the table for the records of a query (pivot.py) of `records` and `where`.

    Raises:
        UserError: no two records are of such trainings, or one of them did not keep its answers.
    """
    table = described(Query.parse(query, laid_out=False).find(results)).table
    return table_lines(table.heads, table.rows, table.numeric)
