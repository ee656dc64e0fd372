"""Output of the commands: progress to standard error, tables to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ....core.errors import printable
from ....core.progress import Advance

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

WIDEST = 10_000  # columns of a table that goes to a file or pipe, so that no cell is cut


def out() -> Console:
    """Standard output, as wide as the terminal or, where there is none, as the table needs."""
    return Console(width=None if sys.stdout.isatty() else WIDEST, highlight=False, soft_wrap=False)


class TerminalProgress:
    """Progress bars and messages on standard error."""

    def __init__(self, verbose: bool = False) -> None:
        """Write to standard error; bars are drawn on a terminal, and one closing line a bar elsewhere."""
        self.console = Console(stderr=True, highlight=False)
        self.verbose = verbose
        self.said: set[str] = set()
        self.bars: Bars | None = None  # of the work that others are a part of

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        """Show a bar while the block runs, with the units per second where there is a unit; below another, where one runs."""
        if self.bars is not None:
            task = self.bars.add_task(printable(description), total=total, unit=unit)
            try:
                yield lambda steps, bars=self.bars: bars.advance(task, steps)
            finally:
                self.bars.remove_task(task)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns, *([_rate_column(unit)] if unit else []), console=self.console) as bars:
            task = bars.add_task(printable(description), total=total)
            self.bars = bars
            try:
                yield lambda steps: bars.advance(task, steps)
            finally:
                self.bars = None

    def say(self, message: str) -> None:
        """Print one line, unless it was printed before (for another run of a grid)."""
        if message in self.said:
            return
        self.said.add(message)
        self.console.print(printable(message), soft_wrap=True, markup=False)


def _rate_column(unit: str) -> ProgressColumn:
    """A column with the units per second."""
    from rich.progress import ProgressColumn, Task

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {task.fields.get('unit') or unit}/s")

    return RateColumn()


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows under headers; the columns numbered in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headers))
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number in right else "left", no_wrap=number in right)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # as plain text: square brackets are no markup
    out().print(table)


def percent(fraction: float | None) -> str:
    """A fraction as percent with two decimals."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"
