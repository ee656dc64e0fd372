"""One figure a dataset: accuracy with its interval for every method, one panel a task."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .tables import Row, Table, backbone_label, method_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, ROW_HEIGHT, PANEL_HEIGHT = 8.0, 0.25, 0.9  # inches; a panel's height is beside its rows' heights
LONGEST_METHOD, LONGEST_BACKBONE, LONGEST_TITLE_LINE = 40, 24, 90  # characters that fit the width
COLOUR = "#0b5394"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fewbench",  # otherwise the ids in the file are random
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "font.size": 9,
    "text.parse_math": False,  # a `$` in a name is a `$`
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def draw(tables: Sequence[Table]) -> bytes:
    """Draw the tables of one dataset.

    Args:
        tables: at least one.

    Returns:
        SVG; the same bytes for the same tables and version of matplotlib, whatever the user's settings.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    times_used = Counter(table.title for table in tables)
    heights = [PANEL_HEIGHT + ROW_HEIGHT * len(table.rows) for table in tables]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        FigureCanvasSVG(figure)
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, table in zip(panels, tables, strict=True):
            # The same task on other data needs the data to tell its panel apart.
            title = table.title if times_used[table.title] == 1 else f"{table.title}, {table.data}"
            _draw_panel(panel, table, textwrap.fill(title, LONGEST_TITLE_LINE))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _draw_panel(panel: Axes, table: Table, title: str) -> None:
    places = range(len(table.rows))
    means = [100 * row.record.mean for row in table.rows]
    half_widths = [100 * (row.record.half_width or 0.0) for row in table.rows]
    panel.errorbar(means, places, xerr=half_widths, fmt="o", color=COLOUR, markersize=4, capsize=3)
    panel.set_yticks(places, [_label(row) for row in table.rows])
    panel.set_ylim(len(table.rows) - 0.5, -0.5)  # the best on top
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    # At the right end, where a title may reach back over the names; to the right of the panel there is no room.
    panel.set_title(title, loc="right", fontsize=9, fontweight="bold")
    panel.set_xlabel("accuracy (%)")


def _label(row: Row) -> str:
    setting = ", transductive" if row.record.method["transductive"] else ""
    method, backbone = method_label(row.record), backbone_label(row.record)
    return f"{_cut(method, LONGEST_METHOD)}, {_cut(backbone, LONGEST_BACKBONE)}{setting}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
