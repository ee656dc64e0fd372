"""How far quotes and reruns of published numbers lie from the papers' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....core.errors import UserError
from ...published.beside import Beside, beside_own
from ...published.number import PublishedNumber
from .canvas import COLOURS, figure_bytes, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches
ROW = 0.36  # inches
REST = 1.3  # inches, for axis and legend
MOST = 11  # rows with a method of their own
OTHERS = "other methods"
TICKS = (-20, -10, -5, -2, -1, 0, 1, 2, 5)
ROOM = 1.3  # factor between the outermost points and the ends of the axis
LINES = 3  # of points in half a row, so that equal differences do not hide each other
# What a point says: its legend, its half of the row, colour, marker and whether it is filled.
LOOKS = {
    ("quoted", False): ("quote, within both intervals or without one", -1, COLOURS[0], "o", False),
    ("quoted", True): ("quote, apart by more than both intervals", -1, COLOURS[0], "o", True),
    ("rerun", False): ("rerun, within both intervals or without one", 1, COLOURS[1], "D", False),
    ("rerun", True): ("rerun, apart by more than both intervals", 1, COLOURS[1], "D", True),
}


def draw_spread(numbers: Sequence[PublishedNumber], form: str = "svg") -> bytes:
    """Draw the difference of every quote and rerun from the paper's own number: a row for each method.

    The axis is linear within ± 1 point and logarithmic beyond.

    Args:
        numbers: of the table.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same numbers and version of matplotlib.

    Raises:
        UserError: no number is a quote or rerun of another.
    """
    pairs = [one for one in beside_own(numbers) if one.own is not None]
    if not pairs:
        raise UserError("no published number is a quote or rerun of a paper's own number")
    rows = _rows(pairs)

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        panel.axvline(0, color="0.4", linewidth=1)
        for height, of_row in enumerate(rows.values()):
            _draw_row(panel, height, of_row)
        panel.set_yticks(range(len(rows)), [_label(name, of_row) for name, of_row in rows.items()])
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_xscale("symlog", linthresh=1, linscale=0.7)
        panel.set_xlim(ROOM * min(-1, *map(_difference, pairs)), ROOM * max(1, *map(_difference, pairs)))
        low, high = panel.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        panel.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
        panel.minorticks_off()
        grid(panel)
        panel.set_xlabel("difference from the paper's own number (percentage points)")
        labels = {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(labels.values(), labels, loc="outside lower center", ncols=2, frameon=False)

    return figure_bytes((WIDTH, REST + ROW * len(rows)), paint, form)


def _rows(pairs: Sequence[Beside]) -> dict[str, list[Beside]]:
    """The pairs by method, most reruns first; methods with few pairs share the last row."""
    count = Counter(one.number.method for one in pairs)
    reruns = Counter(one.number.method for one in pairs if one.number.kind == "rerun")
    named = sorted(count, key=lambda name: (-reruns[name], -count[name], name))[:MOST]
    rows: dict[str, list[Beside]] = {name: [] for name in [*named, OTHERS]}
    for one in pairs:
        rows[one.number.method if one.number.method in named else OTHERS].append(one)
    return {name: of_row for name, of_row in rows.items() if of_row}


def _difference(one: Beside) -> float:
    assert one.difference is not None  # pairs alone come here
    return one.difference


def _label(name: str, of_row: Sequence[Beside]) -> str:
    kinds = Counter(one.number.kind for one in of_row)
    return f"{name} ({kinds['quoted']} quoted, {kinds['rerun']} rerun)"


def _draw_row(panel: Axes, height: int, of_row: Sequence[Beside]) -> None:
    for (kind, apart), (label, half, colour, marker, filled) in LOOKS.items():
        shown = sorted(_difference(one) for one in of_row if (one.number.kind, one.apart) == (kind, apart))
        panel.scatter(
            shown,
            [height + half * (0.1 + 0.1 * (place % LINES)) for place in range(len(shown))],
            s=14,
            marker=marker,
            facecolors=colour if filled else "white",
            edgecolors=colour,
            linewidths=0.9,
            label=label,
            zorder=3,
        )
