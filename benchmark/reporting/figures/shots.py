"""Accuracy against shots: a line with intervals for each method and backbone, a level one for those that use no support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ...built_in import BUILT_IN
from ...described import described
from ...records.identity import answerer_of
from ...records.labels import labels_of
from ...records.record import RunRecord
from ...records.task_words import task_label
from .canvas import INTERVALS, LEGEND_LINE, draw_accuracies, figure_bytes, grid, looks, wrapped_to
from .scaling import check_one_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 7.0, 4.2  # inches
DASHES = ("dashed", "dotted", "dashdot")
SPREAD = 0.05  # between lines, in doublings of the shots
ROOM = 1.3  # factor between the outermost shots and the ends of the axis


@dataclass(frozen=True)
class Line:
    """The runs of one method with one backbone.

    Attributes:
        records: one for each number of shots, fewest shots first.
        level: whether the support does not count, so that any of them says all.
    """

    records: tuple[RunRecord, ...]
    level: bool


def draw_shots(records: Sequence[RunRecord], form: str = "svg") -> bytes:
    """Draw runs on one dataset that differ in method, backbone and shots, with their t intervals.

    A method that uses no support is a dashed line through all shots, with its interval as a band. Lines of one method stand
    together, by their parameters.

    Args:
        records: at least one, that `lines_of` takes.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: the tasks differ in more than their shots, or have no fixed number of them.
    """
    lines = in_order(lines_of(records))
    return draw_lines(lines, line_labels(lines), form)


def draw_lines(lines: Sequence[Line], names: Sequence[str], form: str = "svg", width: float = WIDTH) -> bytes:
    """Draw lines of accuracy against shots.

    Args:
        lines: at least one, of one task but for its shots.
        names: what each is called.
        form: "svg" or "png".
        width: in inches.

    Returns:
        The file's content.
    """
    labels = [wrapped_to(name, width) for name in names]
    styles = looks([line.records[0].method.name for line in lines])
    records = [record for line in lines for record in line.records]
    shots = sorted({_shots(record) for record in records})

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        level = 0
        for number, (line, label, (marker, colour)) in enumerate(zip(lines, labels, styles, strict=True)):
            if line.level:
                _draw_level(panel, line, label, colour, DASHES[level % len(DASHES)])
                level += 1
            else:
                _draw_line(panel, line, label, marker, colour, 2 ** (SPREAD * (number - (len(lines) - 1) / 2)))
        panel.set_xscale("log", base=2)
        panel.set_xlim(shots[0] / ROOM, shots[-1] * ROOM)
        panel.set_xticks(shots, [str(count) for count in shots])
        panel.minorticks_off()
        grid(panel)
        panel.set_xlabel("support images a class (shots)")
        panel.set_ylabel("accuracy (%)")
        panel.set_title(wrapped_to(_title(records[0]), width), fontsize=9, fontweight="bold")
        figure.legend(loc="outside lower center", frameon=False, title=INTERVALS)

    lines_of_text = sum(label.count("\n") + 1 for label in labels)
    return figure_bytes((width, HEIGHT + LEGEND_LINE * (1 + lines_of_text)), paint, form)


def lines_of(records: Sequence[RunRecord]) -> list[Line]:
    """Gather the runs of each method and backbone, in the order of their first record.

    Of several runs of one method, backbone and number of shots the one with the most episodes counts, the first of equals.

    Raises:
        UsageError: the tasks differ in more than their shots, or have no fixed number of them.
    """
    shots = [_shots(record) for record in records]
    check_one_task(records, but=("shots",))
    gathered: dict[str, dict[int, RunRecord]] = {}
    for record, count in zip(records, shots, strict=True):
        of_run = gathered.setdefault(answerer_of(record), {})
        known = of_run.setdefault(count, record)
        if record.n_episodes > known.n_episodes:
            of_run[count] = record
    return [
        Line(tuple(of_run[shots] for shots in sorted(of_run)), level=uses_no_support(next(iter(of_run.values()))))
        for of_run in gathered.values()
    ]


def in_order(lines: Sequence[Line]) -> list[Line]:
    """The lines by method, the first given first, and those of one method by the parameters that are numbers."""
    methods = [line.records[0].method.name for line in lines]

    def place(line: Line) -> tuple[int, list[float]]:
        method = line.records[0].method
        return methods.index(method.name), [
            value for _, value in sorted(method.parameters.items()) if isinstance(value, int | float)
        ]

    return sorted(lines, key=place)


def line_labels(lines: Sequence[Line]) -> list[str]:
    """The label of each line: that of its partial run, where it has one."""
    named = [min(line.records, key=lambda record: record.complete) for line in lines]
    labels = labels_of(named, told=("shots",))
    return [f"{label}{': no support' if line.level else ''}" for label, line in zip(labels, lines, strict=True)]


def uses_no_support(record: RunRecord) -> bool:
    """Whether a run's accuracy is that of zero shots, which older records do not say."""
    target = BUILT_IN["methods"].get(record.method.name)
    return not (record.method.uses_support and (target is None or described(target).uses_support))


def _shots(record: RunRecord) -> int:
    if record.task.shots is None:
        raise UsageError(f"{task_label(record)}: its shots vary; give records of tasks with a fixed number of them")
    return record.task.shots


def _title(record: RunRecord) -> str:
    """The dataset and the task without its shots."""
    return task_label(record).replace(f" {record.task.shots}-shot", "", 1)


def _draw_line(panel: Axes, line: Line, label: str, marker: str, colour: str, aside: float) -> None:
    """A line a little aside of its shots, by a factor, so that equal lines do not hide each other."""
    points = [(aside * _shots(record), record.mean, record.half_width) for record in line.records]
    draw_accuracies(panel, points, label, marker, colour)


def _draw_level(panel: Axes, line: Line, label: str, colour: str, dashes: str) -> None:
    """The longest run alone: its queries are those at any number of shots."""
    record = max(line.records, key=lambda record: record.n_episodes)
    mean, half_width = 100 * record.mean, 100 * (record.half_width or 0.0)
    panel.axhline(mean, label=label, color=colour, linestyle=dashes)
    panel.axhspan(mean - half_width, mean + half_width, color=colour, alpha=0.2, linewidth=0)
