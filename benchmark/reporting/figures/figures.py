"""One figure a dataset: accuracy with its interval for every method, one panel a task."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...records.identity import task_of
from ...records.record import RunRecord
from ..tables import Table, backbone_label, method_label, task_title
from .canvas import COLOURS, figure_bytes, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW_HEIGHT, PANEL_HEIGHT = 8.0, 0.25, 0.9  # inches; a panel's height is beside its rows' heights
LONGEST_METHOD, LONGEST_BACKBONE, LONGEST_TITLE_LINE = 40, 24, 90  # characters that fit the width


def draw(tables: Sequence[Table]) -> bytes:
    """Draw the tables of one dataset.

    Args:
        tables: at least one.

    Returns:
        SVG; the same bytes for the same tables and version of matplotlib, whatever the user's settings.
    """
    times_used = Counter(table.title for table in tables)
    heights = [PANEL_HEIGHT + ROW_HEIGHT * len(table.rows) for table in tables]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, table in zip(panels, tables, strict=True):
            # The same task on other data needs the data to tell its panel apart.
            title = table.title if times_used[table.title] == 1 else f"{table.title}, {table.data}"
            _draw_panel(panel, table, textwrap.fill(title, LONGEST_TITLE_LINE))

    return figure_bytes((WIDTH, sum(heights)), paint)


def _draw_panel(panel: Axes, table: Table, title: str) -> None:
    places = range(len(table.rows))
    means = [100 * row.record.mean for row in table.rows]
    half_widths = [100 * (row.record.half_width or 0.0) for row in table.rows]
    panel.errorbar(means, places, xerr=half_widths, fmt="o", color=COLOURS[0], markersize=4, capsize=3)
    panel.set_yticks(places, [run_label(row.record) for row in table.rows])
    panel.set_ylim(len(table.rows) - 0.5, -0.5)  # the best on top
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    # At the right end, where a title may reach back over the names; to the right of the panel there is no room.
    panel.set_title(title, loc="right", fontsize=9, fontweight="bold")
    panel.set_xlabel("accuracy (%)")


def run_label(record: RunRecord, longest_backbone: int = LONGEST_BACKBONE) -> str:
    """Method and backbone as a figure names them, cut to what fits, whether the method is transductive and the run partial."""
    setting = ", transductive" if record.method.transductive else ""
    method, backbone = method_label(record), backbone_label(record)
    label = f"{shortened(method, LONGEST_METHOD)}, {shortened(backbone, longest_backbone)}{setting}"
    return label if record.complete else f"{label} (partial)"


def task_label(record: RunRecord) -> str:
    """The dataset and the task as a figure's title names them."""
    return f"{record.task.dataset}, {task_title(task_of(record))}"
