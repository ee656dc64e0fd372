"""How far the answers of trainings differ, against their accuracy: a panel a method and task, a point a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...records.labels import Label
from ..report.prediction_difference import Difference
from .canvas import COLOURS, LEGEND_LINE, MARKERS, figure_bytes, grid, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, REST_HEIGHT = 3.5, 3.0, 0.4  # inches; WIDTH is of a panel
COLUMNS = 2  # of panels, and of the legend for each
NOTE = "bars: 95 % intervals for other trainings; good is at the lower right"


def draw_differences(found: Sequence[Difference], labels: Sequence[Label], tasks: Sequence[str], form: str = "svg") -> bytes:
    """Draw the relative prediction difference of recipes against their accuracy, with the intervals of both.

    Args:
        found: of each recipe.
        labels: what its runs are called.
        tasks: in words.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same differences and version of matplotlib.
    """
    headings = [f"{label.method}, {task}" for label, task in zip(labels, tasks, strict=True)]
    names = list(dict.fromkeys(label.backbone for label in labels))
    panels = list(dict.fromkeys(headings))
    columns = min(COLUMNS, len(panels))
    rows, lines = -(-len(panels) // columns), -(-len(names) // columns)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, squeeze=False)
        for panel in axes.flat[len(panels) :]:
            panel.remove()
        shown = {}
        for one, label, heading in zip(found, labels, headings, strict=True):
            place = names.index(label.backbone)
            shown[label.backbone] = axes.flat[panels.index(heading)].errorbar(
                [100 * one.accuracy.value], [100 * one.relative.value],
                xerr=[100 * (one.accuracy.half_width or 0.0)], yerr=[100 * (one.relative.half_width or 0.0)],
                color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], linestyle="none", elinewidth=1,
            )  # fmt: skip
        for panel, heading in zip(axes.flat, panels, strict=False):
            panel.set_title(wrapped(heading, 40), fontsize=9, fontweight="bold")
            panel.set_xlabel("accuracy over trainings (%)")
            grid(panel)
        for panel in axes[:, 0]:
            panel.set_ylabel("relative prediction difference (%)")
        handles = [shown[name] for name in names]
        figure.legend(
            handles, names, loc="outside lower center", frameon=False, ncols=columns, title=wrapped(NOTE, 48 * columns)
        )

    return figure_bytes((WIDTH * columns + 0.6, REST_HEIGHT + HEIGHT * rows + LEGEND_LINE * (lines + 2)), paint, form)
