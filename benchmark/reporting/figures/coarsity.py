"""Accuracy against coarsity: one line a run through its means in the four quartiles of coarsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...records.labels import labels_of
from ...records.record import RunRecord
from ...records.task_words import task_label
from ..coarsity import quartiles
from .canvas import LEGEND_LINE, draw_accuracies, figure_bytes, grid, looks, wrapped_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 7.0, 4.0  # inches
BINS, FEWEST_IN_BIN, MOST_WITH_BINS = 20, 30, 4


def draw_coarsity(records: Sequence[RunRecord], form: str = "svg", names: Sequence[str] = (), width: float = WIDTH) -> bytes:
    """Draw runs on tasks with coarsity, in the order given.

    A line joins the mean accuracies, with their t intervals, at the mean coarsities of the quartiles of each run's episodes.
    Where four runs or fewer are drawn, of 600 episodes or more, faint dots show the means of twenty equal groups of episodes.

    Args:
        records: at least one, each with coarsity.
        form: "svg" or "png".
        names: what each is called; none for what differs among them.
        width: in inches.

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UserError: the coarsities of a record are damaged.
    """
    tasks = {task_label(record) for record in records}
    labels = [wrapped_to(name, width) for name in names or map(str, labels_of(records))]
    styles = looks([record.method.name for record in records])
    lines_of_text = sum(label.count("\n") + 1 for label in labels)
    with_bins = len(records) <= MOST_WITH_BINS and min(record.n_episodes for record in records) >= BINS * FEWEST_IN_BIN
    key = "Means and t intervals in the quartiles of coarsity" + (", faint: means of twentieths" if with_bins else "")

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        for record, label, (marker, colour) in zip(records, labels, styles, strict=True):
            if with_bins:
                _draw_bins(panel, record, colour)
            _draw_quartiles(panel, record, label, marker, colour)
        grid(panel)
        panel.set_xlabel(wrapped_to("coarsity (mean squared distance between the classes; fine-grained on the left)", width))
        panel.set_ylabel("accuracy (%)")
        if len(tasks) == 1:
            panel.set_title(wrapped_to(tasks.pop(), width), fontsize=9, fontweight="bold")
        figure.legend(loc="outside lower center", frameon=False, title=wrapped_to(key, width))

    return figure_bytes((width, HEIGHT + LEGEND_LINE * lines_of_text), paint, form)


def _draw_quartiles(panel: Axes, record: RunRecord, label: str, marker: str, colour: str) -> None:
    found = [quartile for quartile in quartiles(record) if quartile is not None]
    points = [(quartile.coarsity, quartile.accuracy.mean, quartile.accuracy.half_width) for quartile in found]
    draw_accuracies(panel, points, label, marker, colour)


def _draw_bins(panel: Axes, record: RunRecord, colour: str) -> None:
    """Means of groups of equal size."""
    coarsity = record.coarsities
    assert coarsity is not None
    groups = np.array_split(np.argsort(coarsity, kind="stable"), BINS)
    means = [100 * record.accuracies[group].mean() for group in groups]
    panel.plot([coarsity[group].mean() for group in groups], means, ".", color=colour, alpha=0.3, markeredgewidth=0)
