"""Our accuracies against published ones: a panel for each dataset, a point for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....core.errors import UserError
from ..quotes import Quote
from .canvas import LEGEND_LINE, figure_bytes, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, TITLES, REST = 2.6, 0.4, 0.5  # inches: side of a panel, for its titles, and for the name of the vertical axis
COLUMNS = 3  # panels side by side
IN_LEGEND = 2  # names in a line of the legend, for each panel side by side
ROOM = 0.08  # of the range, beside the outermost points


def draw_ours(quotes: Sequence[Quote], form: str = "svg") -> bytes:
    """Draw our accuracy against the published one, with both intervals; on the line both are equal.

    Args:
        quotes: published numbers with a run of ours.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same numbers and version of matplotlib.

    Raises:
        UserError: there is none.
    """
    if not quotes:
        raise UserError("no run of ours stands beside a published number")
    datasets = list(dict.fromkeys(quote.number.task.dataset for quote in quotes))
    methods = sorted({quote.number.method for quote in quotes})
    look_of = dict(zip(methods, looks(methods), strict=True))
    lines, columns = -(-len(datasets) // COLUMNS), min(COLUMNS, len(datasets))

    def paint(figure: Figure) -> None:
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, dataset in zip(panels, datasets, strict=False):
            of_dataset = [quote for quote in quotes if quote.number.task.dataset == dataset]
            _draw_panel(panel, of_dataset, look_of)
            panel.set_title(dataset, fontsize=9, fontweight="bold")
            panel.set_xlabel("published accuracy (%)")
            panel.set_ylabel("our accuracy (%)")
        for panel in panels[len(datasets) :]:
            panel.set_visible(False)
        handles = {
            label: handle
            for panel in panels
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }  # fmt: skip
        figure.legend([handles[name] for name in methods], methods, loc="outside lower center", ncols=in_line, frameon=False)

    in_line = IN_LEGEND * columns
    in_legend = LEGEND_LINE * -(-len(methods) // in_line)
    return figure_bytes((REST + PANEL * columns, (PANEL + TITLES) * lines + in_legend), paint, form)


def _draw_panel(panel: Axes, quotes: Sequence[Quote], look_of: dict[str, tuple[str, str]]) -> None:
    ends: list[float] = []
    for quote in quotes:
        assert quote.ours is not None
        published, ours = quote.number.accuracy, 100 * quote.ours.mean
        marker, colour = look_of[quote.number.method]
        panel.errorbar(
            [published],
            [ours],
            xerr=[quote.number.half_width or 0.0],
            yerr=[100 * (quote.ours.half_width or 0.0)],
            label=quote.number.method,
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=5,
            elinewidth=1,
        )
        ends += [published - (quote.number.half_width or 0.0), published + (quote.number.half_width or 0.0), ours]
    room = ROOM * (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - room, max(ends) + room
    panel.axline((low, low), slope=1, color="0.6", linewidth=1, zorder=1)
    panel.set_xlim(low, high)
    panel.set_ylim(low, high)
    panel.set_aspect("equal")
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
