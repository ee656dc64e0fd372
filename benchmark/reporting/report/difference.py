"""A report on trainings that differ in their seed alone: how accurate they are, and how far their answers differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ...records.labels import labels_of
from ...records.record import RunRecord
from ...records.task_words import task_label
from ..figures.canvas import COLOURS, LEGEND_LINE, MARKERS, figure_bytes
from ..markdown import Table
from .content import Picture, Report, Section
from .prediction_difference import Difference, differences_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.6, 3.2  # inches
TITLE = "Prediction difference"
TEXT = (
    "The trainings of a row differ in their seed alone. Accuracy is the mean over trainings, with the interval of another one. "
    "The relative prediction difference is the mean distance of the trainings' probabilities of the true class from their own "
    "mean, as a share of that mean (Shamir, Lin and Coviello 2020, arXiv:2010.09931); where scores are no probabilities, their "
    "softmax stands in. Churn is the share of queries that two trainings answer with different classes. Small is good in both."
)


def difference_report(loaded: Sequence[tuple[Path, RunRecord]]) -> Report:
    """The report of records, each with its file.

    Raises:
        UserError: no two records are of such trainings, or one of them did not keep its answers.
    """
    found = differences_of(loaded)
    if not found:
        raise UsageError(
            "--prediction-difference: no two of the records differ in the seed of their training alone; train several times "
            "(bench train --seeds 5, or bench pretrain --seed N) and run each with --keep-predictions"
        )
    first = [loaded[one.trainings.places[0]][1] for one in found]
    names = list(map(str, labels_of(first)))
    rows = [
        (
            name,
            task_label(record),
            str(len(one.trainings.seeds)),
            _with_interval(one),
            f"{100 * one.relative:.2f}",
            f"{100 * one.churn:.2f}",
        )
        for name, record, one in zip(names, first, found, strict=True)
    ]
    heads = ("run", "task", "trainings", "accuracy (%)", "relative prediction difference (%)", "churn (%)")
    picture = Picture("difference", f"{TITLE} against accuracy", draw_differences(found, names))
    section = Section(TITLE, [TEXT], [picture], [Table(heads, rows, (False, False, True, True, True, True))])
    return Report(TITLE, f"{sum(len(one.trainings.seeds) for one in found)} trainings by {len(found)} recipes.", [section])


def _with_interval(one: Difference) -> str:
    interval = one.trainings.interval
    return f"{100 * interval.mean:.2f} ± {100 * (interval.half_width or 0.0):.2f}"


def draw_differences(found: Sequence[Difference], names: Sequence[str], form: str = "svg") -> bytes:
    """Draw the relative prediction difference of each recipe against its accuracy; good is at the lower right."""

    def paint(figure: Figure) -> None:
        panel = figure.subplots()
        for place, (one, name) in enumerate(zip(found, names, strict=True)):
            interval = one.trainings.interval
            panel.errorbar(
                [100 * interval.mean], [100 * one.relative], xerr=[100 * (interval.half_width or 0.0)], label=name,
                color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], linestyle="none", elinewidth=1,
            )  # fmt: skip
        panel.set_xlabel("accuracy over trainings (%)")
        panel.set_ylabel("relative prediction difference (%)")
        panel.set_ylim(0, 110 * max(one.relative for one in found) or 1)
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        figure.legend(loc="outside lower center", frameon=False)

    return figure_bytes((WIDTH, HEIGHT + LEGEND_LINE * len(found)), paint, form)
