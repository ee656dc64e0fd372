"""A critical-difference diagram: mean ranks, and bars that join runs which no test tells apart (Demšar 2006, JMLR 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .canvas import colours_of, figure_bytes, grid, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, LINE, AROUND = 7.0, 0.18, 1.2  # inches
LONGEST = 48  # characters of a name in a line
AXIS = "mean rank over episodes (1 is best)\nbars join runs that Wilcoxon's test\n(Holm-adjusted) does not tell apart"


def draw_critical_difference(
    labels: Sequence[str], methods: Sequence[str], ranks: Sequence[float], apart: np.ndarray, title: str, form: str = "svg"
) -> bytes:
    """Draw mean ranks, a row a run, the best at the top. Demšar puts the names around the axis, where long ones find no room.

    Args:
        labels: K texts, what each run is called.
        methods: K names of methods, which decide the colours.
        ranks: K mean ranks.
        apart: bool [K, K], whether two are told apart.
        title: above the axis.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same input and version of matplotlib.
    """
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    bars = groups_of(apart[np.ix_(order, order)])
    colours = colours_of(methods)
    names = [wrapped(labels[place], LONGEST) for place in order]

    def paint(figure: Figure) -> None:
        panel, side = figure.subplots(1, 2, sharey=True, width_ratios=(8, 0.4 + 0.3 * len(bars)))
        for row, place in enumerate(order):
            panel.plot([ranks[place]], [row], marker="o", color=colours[methods[place]], linestyle="none")
            panel.annotate(f"{ranks[place]:.2f}", (ranks[place], row), (6, 0), textcoords="offset points", va="center")
        panel.set_yticks(range(len(order)), names)
        panel.set_ylim(len(order) - 0.5, -0.5)
        panel.margins(x=0.12)
        grid(panel, "y")
        panel.set_xlabel(AXIS)
        for number, (first, last) in enumerate(bars):
            side.plot([number] * 2, [first - 0.2, last + 0.2], color="0.2", linewidth=3, solid_capstyle="butt")
        side.set_xlim(-1, max(len(bars), 1))
        side.set_axis_off()
        figure.suptitle(wrapped(title), fontsize=9, fontweight="bold")

    lines = sum(1 + name.count("\n") for name in names)
    return figure_bytes((WIDTH, AROUND + LINE * max(lines, 1.5 * len(names))), paint, form)


def groups_of(apart: np.ndarray) -> list[tuple[int, int]]:
    """The longest runs of neighbours of which no two are told apart.

    Args:
        apart: bool [K, K], in the order of the ranks.

    Returns:
        First and last place of each run of two or more; none lies within another.
    """
    found: list[tuple[int, int]] = []
    for first in range(len(apart)):
        last = first
        while last + 1 < len(apart) and not apart[first : last + 1, last + 1].any():
            last += 1
        if last > first and not any(begin <= first and last <= end for begin, end in found):
            found.append((first, last))
    return found
