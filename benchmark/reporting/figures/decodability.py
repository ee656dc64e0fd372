"""Accuracy of linear readouts at each layer: a panel for each network, a colour for each attribute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...probe.results import Probe, read_probe, training_of
from .canvas import COLOURS, LEGEND_LINE, MARKERS, figure_bytes, grid, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, REST_HEIGHT, REST_WIDTH = 2.2, 0.9, 0.5  # inches; a panel is a square
IN_A_ROW = 3
IN_LEGEND = 5  # entries of a line
TITLE = 30  # characters of a line


def draw_decodability(probes: Sequence[Probe], form: str = "svg") -> bytes:
    """Draw probes in the order given, three in a row.

    Args:
        probes: at least one.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same probes and version of matplotlib.
    """
    attributes = list(dict.fromkeys(name for one in probes for name in one.values))
    columns = min(len(probes), IN_A_ROW)
    rows = -(-len(probes) // columns)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        for panel, one in zip(panels, probes, strict=False):
            _draw_panel(panel, one, attributes)
        for panel in panels[len(probes) :]:
            panel.set_axis_off()
        for first in panels[::columns]:
            first.set_ylabel("accuracy of the readout (%)")
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], label=name, **_look(place)) for place, name in enumerate(attributes)]
        styles: Any = (("solid", "after training"), ("dashed", "before"), ("dotted", "chance"))
        handles += [Line2D([], [], color="0.3", linestyle=style, label=label) for style, label in styles]
        figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=IN_LEGEND)

    lines = rows - (len(attributes) + 3) // -IN_LEGEND  # of titles and legend
    size = (REST_WIDTH + PANEL * max(columns, 3), REST_HEIGHT + PANEL * rows + LEGEND_LINE * lines)
    return figure_bytes(size, paint, form)


def draw_files(paths: Sequence[Path], form: str) -> bytes:
    """Draw the probes of files, as `draw_decodability` does.

    Raises:
        UserError: a file is no probe.
    """
    return draw_decodability([read_probe(path) for path in paths], form)


def _draw_panel(panel: Axes, probe: Probe, attributes: Sequence[str]) -> None:
    layers = probe.layers
    for name, count in probe.values.items():
        place = attributes.index(name)
        look = _look(place)
        found = [probe.at(layer, name) for layer in layers]
        panel.plot(range(len(layers)), [100 * one.after for one in found], **look)
        panel.plot(range(len(layers)), [100 * one.before for one in found], linestyle="dashed", markerfacecolor="white", **look)
        panel.axhline(100 / count, color=COLOURS[place % len(COLOURS)], linestyle="dotted", linewidth=0.8)
    panel.set_title(wrapped(training_of(probe), TITLE), fontsize=8)
    panel.set_xticks(range(len(layers)), [_short(layer) for layer in layers], fontsize=7)
    panel.set_ylim(0, 102)
    grid(panel, "y")


def _look(place: int) -> dict[str, Any]:
    """Colour and marker of the attribute at a place."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "markersize": 4}


def _short(layer: str) -> str:
    """A layer's name without what all of its kind have in front: `blocks.3` is 3."""
    return layer.rpartition(".")[2] or layer
