"""The figures of a report. Each takes what the runs are called and a style a run, in the order of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...records.statistics import Interval
from ..figures.canvas import LEGEND_LINE, figure_bytes, grid, looks, wrapped_to
from .measures import Calibration, Groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.6, 3.2  # inches
ROW, LONGEST_NAME = 0.2, 40  # of a class: inches, and characters of its name
BINS = 30  # of a histogram


def draw_classes(names: Sequence[str], accuracies: Sequence[Sequence[Interval | None]], runs: Sequence[str],
                 methods: Sequence[str]) -> bytes:  # fmt: skip
    """Draw the accuracy of each class with its interval, a row a class, the first on top.

    Args:
        names: K names of classes.
        accuracies: of each run, for each of the K classes.
        runs: what each run is called.
        methods: name of each run's method.

    Returns:
        An SVG file, as the other figures here.
    """
    apart = np.linspace(-0.22, 0.22, len(runs)) if len(runs) > 1 else [0.0]

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        for shift, of_run, name, (marker, colour) in zip(apart, accuracies, runs, looks(methods), strict=True):
            rows = [(row, one) for row, one in enumerate(of_run) if one is not None]
            panel.errorbar(
                [100 * one.mean for _, one in rows],
                [row + shift for row, _ in rows],
                xerr=[100 * (one.half_width or 0.0) for _, one in rows],
                label=name, color=colour, marker=marker, markersize=4, linestyle="none", elinewidth=1,
            )  # fmt: skip
        panel.set_yticks(range(len(names)), [_short(name) for name in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_xlabel("accuracy (%)")
        _finish(figure, panel, runs)

    return figure_bytes((WIDTH, 0.8 + ROW * len(names) + _legend(runs)), paint)


def draw_distances(groups: Sequence[Groups], runs: Sequence[str], methods: Sequence[str]) -> bytes:
    """Draw how often queries were taken for a class against the distance of that class from their own."""
    return _lines(groups, runs, methods, "distance by the taxonomy (near on the left)", "taken for it (%)")


def draw_by_hardness(groups: Sequence[Groups], runs: Sequence[str], methods: Sequence[str]) -> bytes:
    """Draw accuracy against angular visual hardness, in tenths of the queries."""
    return _lines(groups, runs, methods, "angular visual hardness (easy on the left)", "accuracy (%)")


def _lines(groups: Sequence[Groups], runs: Sequence[str], methods: Sequence[str], along: str, up: str) -> bytes:
    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        for of_run, name, (marker, colour) in zip(groups, runs, looks(methods), strict=True):
            panel.plot(of_run.at, 100 * of_run.share, label=name, color=colour, marker=marker, markersize=4)
        panel.set_xlabel(wrapped_to(along, WIDTH))
        panel.set_ylabel(up)
        panel.set_ylim(bottom=0)
        _finish(figure, panel, runs)

    return figure_bytes((WIDTH, HEIGHT + _legend(runs)), paint)


def draw_hardness(hardness: np.ndarray, right: np.ndarray) -> bytes:
    """Draw how the hardness of queries is distributed where their answers were right and where they were wrong."""

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        edges = np.linspace(float(hardness.min()), float(hardness.max()) + 1e-9, BINS + 1)
        for chosen, name, colour in ((right, "right", "#009e73"), (~right, "wrong", "#d55e00")):
            if chosen.any():
                count, _ = np.histogram(hardness[chosen], edges)
                share = 100 * count / count.sum()
                panel.stairs(share, edges, fill=True, color=colour, alpha=0.35)
                panel.stairs(share, edges, color=colour, label=f"{name} ({np.count_nonzero(chosen):,} queries)")
        panel.set_xlabel("angular visual hardness (easy on the left)")
        panel.set_ylabel("queries of each (%)")
        panel.legend(frameon=False)
        _finish(figure, panel, [])

    return figure_bytes((WIDTH, HEIGHT), paint)


def draw_reliability(found: Calibration) -> bytes:
    """Draw accuracy against confidence in bins, and below how many answers each bin has (DeGroot and Fienberg 1983)."""

    def paint(figure: Figure) -> None:
        panel, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        edges = np.linspace(0, 1, len(found.weight) + 1)
        there = found.weight > 0
        panel.plot([0, 1], [0, 100], color="0.5", linewidth=1, linestyle="dashed")
        panel.set_title("dashed: as accurate as confident", loc="left", fontsize=8, color="0.35")
        panel.vlines(found.confidence[there], 100 * found.confidence[there], 100 * found.accuracy[there], color="#d55e00",
                     linewidth=4, alpha=0.35)  # fmt: skip
        panel.plot(found.confidence[there], 100 * found.accuracy[there], color="#0b5394", marker="o", markersize=4)
        panel.set_ylabel("accuracy (%)")
        panel.set_ylim(0, 102)
        below.stairs(100 * found.weight, edges, fill=True, color="#0b5394", alpha=0.5)
        below.set_ylabel("answers (%)")
        below.set_xlabel("confidence")
        below.set_xlim(0, 1)
        for one in (panel, below):
            _finish(figure, one, [])

    return figure_bytes((WIDTH, HEIGHT + 0.6), paint)


def _finish(figure: Figure, panel: Axes, runs: Sequence[str]) -> None:
    grid(panel)
    if len(runs) > 1:
        figure.legend(loc="outside lower center", frameon=False)


def _legend(runs: Sequence[str]) -> float:
    """Height of the legend in inches."""
    return LEGEND_LINE * (len(runs) + 1) if len(runs) > 1 else 0.0


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
