"""Accuracy of a user's own classifier by the number of photos a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import figure_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...classifier.recommending import Recommendation


def draw(found: Recommendation, form: str) -> bytes:
    """The curve of the best method with its intervals over episodes."""
    name, ways = found.candidates[0].parts.name, len(found.photos.classes)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        shots = [count for count, _ in found.curve]
        means = [100 * interval.mean for _, interval in found.curve]
        axes.errorbar(shots, means, [100 * (interval.half_width or 0) for _, interval in found.curve], marker="o", capsize=3)
        axes.set_xscale("log")
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.minorticks_off()
        axes.set(xlabel="photos a class", ylabel="right, %", title=f"{name}, {ways} classes at once")
        axes.grid(alpha=0.3)

    return figure_bytes((5.5, 3.6), paint, form)
