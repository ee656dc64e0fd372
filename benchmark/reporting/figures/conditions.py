"""Accuracy against a condition of the task, such as how uneven the queries are: a panel a task, a line a method.

Against a budget of labels a line is a rule that gives them, and each method has panels of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ....tasks.conditions.conditions import Conditions
from ...records.identity import answerer_of
from ...records.labels import labels_of
from ...records.record import RunRecord
from .canvas import INTERVALS, LEGEND_LINE, figure_bytes, grid, looks, wrapped
from .scaling import check_one_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, REST_HEIGHT = 7.0, 2.7, 0.5  # inches; HEIGHT is of a row of panels
COLUMNS = 2  # of panels, and of the legend


@dataclass(frozen=True)
class Scale:
    """The horizontal axis.

    Attributes:
        label: below it.
        plain: where a task without the condition stands, in words.
        plain_last: whether that is at the end.
    """

    label: str
    plain: str
    plain_last: bool = False


SCALES = {
    "query_balance": Scale("concentration of the queries' classes", "balanced", plain_last=True),
    "label_noise": Scale("part of the support labels that are flipped", "0"),
    "budget": Scale("labels given on request", "0"),
}
Panel = tuple[str, int, str, str]  # dataset, shots, backbone, and the method where lines are something else
Points = dict[float | None, RunRecord]  # by the value of the condition; None without it


def draw_conditions(records: Sequence[RunRecord], form: str = "svg") -> bytes:
    """Draw runs that differ in one condition of their task, with their t intervals; lines of inductive methods are dashed.

    Of several runs of one method on the same task the one with the most episodes counts, the first of equals.

    Args:
        records: of any datasets, shots, backbones and methods.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: no condition or several conditions vary, or the tasks of a panel differ in more.
    """
    name = _varying(records)
    scale, panels = SCALES[name], panels_of(records, name)
    values = sorted({value for lines in panels.values() for points in lines.values() for value in points if value is not None})
    places = [*values, None] if scale.plain_last else [None, *values]
    words = [scale.plain if value is None else f"{value:g}" for value in places]
    styles = _styles(panels)
    rows = -(-len(panels) // COLUMNS)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(rows, min(COLUMNS, len(panels)), squeeze=False)
        for panel in axes.flat[len(panels) :]:
            panel.remove()
        for panel, ((dataset, shots, backbone, owner), lines) in zip(axes.flat, sorted(panels.items()), strict=False):
            for line in sorted(lines):
                _draw_line(panel, lines[line], places, line, *styles[line])
            panel.set_xticks(range(len(places)), words)
            grid(panel)
            heading = ", ".join(filter(None, [dataset, backbone, f"{shots}-shot", owner]))
            panel.set_title(wrapped(heading, 44), fontsize=9, fontweight="bold")
        for panel in axes.flat[max(0, len(panels) - COLUMNS) : len(panels)]:
            panel.set_xlabel(scale.label)
        for panel in axes[:, 0]:
            panel.set_ylabel("accuracy (%)")
        found = [panel.get_legend_handles_labels() for panel in axes.flat[: len(panels)]]
        shown = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
        labels, title = sorted(shown), f"dashed: inductive; {INTERVALS}"
        handles = [shown[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=2 * COLUMNS, title=title)

    height = REST_HEIGHT + HEIGHT * rows + LEGEND_LINE * (1 + -(-len(styles) // (2 * COLUMNS)))
    return figure_bytes((WIDTH, height), paint, form)


def panels_of(records: Sequence[RunRecord], name: str) -> dict[Panel, dict[str, Points]]:
    """The runs by panel, line and value of a condition; a run without it is on every line of its method.

    Raises:
        UsageError: the tasks of a panel differ in more than the condition.
    """
    labels = labels_of(records, told=("conditions", "shots", "dataset"))
    gathered: dict[Panel, list[RunRecord]] = {}
    found: dict[Panel, dict[str, Points]] = {}
    rules = sorted({one.acquire for record in records if (one := record.task.conditions) is not None and one.acquire})
    for record, label in zip(records, labels, strict=True):
        task = record.task
        if task.shots is None:
            raise UsageError(f"{task.dataset}: the shots of a record vary; give records of tasks with a fixed number of them")
        conditions = task.conditions or Conditions()
        place = (task.dataset, task.shots, record.backbone.name, label.method if rules else "")
        lines = [conditions.acquire] if conditions.acquire else rules or [label.method]
        gathered.setdefault(place, []).append(record)
        value = getattr(conditions, name)
        for line in lines:
            points = found.setdefault(place, {}).setdefault(line, {})
            known = points.setdefault(value, record)
            if answerer_of(known) != answerer_of(record):
                raise UsageError(
                    f"{label.method} is there with several backbones or weights on {task.dataset}; give those of one"
                )
            if record.n_episodes > known.n_episodes:
                points[value] = record
    for several in gathered.values():
        check_one_task(several, but=("conditions",))
    return found


def _varying(records: Sequence[RunRecord]) -> str:
    """The name of the condition that the records are drawn against.

    Raises:
        UsageError: there is none, or more than one.
    """
    set_in = [record.task.conditions for record in records if record.task.conditions is not None]
    names = [name for name in SCALES if any(getattr(one, name) is not None for one in set_in)]
    kinds = {one.noise_kind for one in set_in if one.noise_kind is not None}
    if len(names) != 1 or len(kinds) > 1:
        raise UsageError("give records of one condition, such as --query-balance 0.5,1,2,5, and those of the plain task beside")
    return names[0]


def _styles(panels: dict[Panel, dict[str, Points]]) -> dict[str, tuple[str, str]]:
    """Marker and colour of each line, the same in all panels: those of its method, unless the panels have a method each."""
    runs = {line: next(iter(points.values())) for lines in panels.values() for line, points in lines.items()}
    order = sorted(runs)
    names = ["" if any(owner for *_, owner in panels) else runs[line].method.name for line in order]
    return dict(zip(order, looks(names), strict=True))


def _draw_line(panel: Axes, points: Points, places: Sequence[float | None], label: str, marker: str, colour: str) -> None:
    found = [(place, points[value]) for place, value in enumerate(places) if value in points]
    panel.errorbar(
        [place for place, _ in found],
        [100 * record.mean for _, record in found],
        yerr=[100 * (record.half_width or 0.0) for _, record in found],
        label=label,
        color=colour,
        marker=marker,
        markersize=4,
        linestyle="solid" if found[0][1].method.transductive else "dashed",
        linewidth=1.2,
        capsize=2,
        elinewidth=0.8,
    )
