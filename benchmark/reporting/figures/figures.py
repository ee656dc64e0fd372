"""One figure a dataset: accuracy with its interval for every method, one panel a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from ...records.labels import pretraining_label
from ..tables import Table
from .canvas import COLOURS, figure_bytes, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW_HEIGHT, LINE_HEIGHT, PANEL_HEIGHT = 8.0, 0.25, 0.14, 0.9  # inches; a panel's height is beside its rows' heights
LONGEST_LABEL_LINE, LONGEST_TITLE_LINE = 70, 90  # characters that fit the width


def draw(tables: Sequence[Table]) -> bytes:
    """Draw the tables of one dataset.

    Args:
        tables: at least one.

    Returns:
        SVG; the same bytes for the same tables and version of matplotlib, whatever the user's settings.
    """
    times_used = Counter(table.title for table in tables)
    labels = [_labels(table) for table in tables]
    heights = [PANEL_HEIGHT + sum(map(_height, of_table)) for of_table in labels]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, table, of_table in zip(panels, tables, labels, strict=True):
            # The same task on other data needs the data to tell its panel apart.
            title = table.title if times_used[table.title] == 1 else f"{table.title}, {table.data}"
            _draw_panel(panel, table, of_table, wrapped(title, LONGEST_TITLE_LINE))

    return figure_bytes((WIDTH, sum(heights)), paint)


def _labels(table: Table) -> list[str]:
    """The labels of the rows, with the pretraining (a column of the table) where rows differ in it."""
    seen = [pretraining_label(row.record) for row in table.rows]
    several = len(set(seen)) > 1
    labels = [
        f"{row.label}, trained on {data}" if several else str(row.label) for row, data in zip(table.rows, seen, strict=True)
    ]
    return [wrapped(label, LONGEST_LABEL_LINE) for label in labels]


def _height(label: str) -> float:
    """Of a row, in inches."""
    return ROW_HEIGHT + LINE_HEIGHT * label.count("\n")


def _draw_panel(panel: Axes, table: Table, labels: Sequence[str], title: str) -> None:
    ends = list(accumulate(map(_height, labels)))
    places = [end - _height(label) / 2 for end, label in zip(ends, labels, strict=True)]
    means = [100 * row.record.mean for row in table.rows]
    half_widths = [100 * (row.record.half_width or 0.0) for row in table.rows]
    panel.errorbar(means, places, xerr=half_widths, fmt="o", color=COLOURS[0], markersize=4, capsize=3)
    panel.set_yticks(places, labels)
    panel.set_ylim(ends[-1], 0)  # the best on top
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    # At the right end, where a title may reach back over the names; to the right of the panel there is no room.
    panel.set_title(title, loc="right", fontsize=9, fontweight="bold")
    panel.set_xlabel("accuracy (%)")
