"""Accuracy against the severity of a corruption: a panel a corruption, a line with intervals for each method and backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ....core.errors import UsageError, UserError
from ....tasks.corruptions import SEVERITIES, STRENGTHS
from ...records.identity import answerer_of, task_of
from ...records.labels import labels_of
from ...records.record import RunRecord
from ...records.task_words import task_title
from .canvas import LEGEND_LINE, draw_accuracies, figure_bytes, grid, looks, wrapped
from .scaling import check_one_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, REST_HEIGHT = 7.0, 2.2, 0.6  # inches; HEIGHT is of a row of panels
COLUMNS = 3  # of panels
CLEAN = 0  # the severity of images that nothing was done to


def draw_corruptions(records: Sequence[RunRecord], form: str = "svg") -> bytes:
    """Draw runs on one task, on clean and corrupted images, with their t intervals.

    A run on the clean images is severity 0 in every panel. Of several runs of one method and backbone on the same images the
    one with the most episodes counts, the first of equals.

    Args:
        records: on one task but for the corruption of its images, at least one of them on corrupted images.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: the tasks differ in more than the corruption, or no images are corrupted.
        UserError: images were corrupted by different versions of the code.
    """
    names = _checked(records)
    lines = lines_of(records)
    named = [min(line.values(), key=lambda record: record.complete) for line in lines]  # a partial run, where there is one
    labels = [wrapped(str(label)) for label in labels_of(named, told=("corruption", "fingerprint"))]
    styles = looks([record.method.name for record in named])
    rows, columns = math.ceil(len(names) / COLUMNS), min(COLUMNS, len(names))

    def paint(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel in panels.flat[len(names) :]:
            panel.remove()
        for panel, name in zip(panels.flat, names, strict=False):
            for line, label, (marker, colour) in zip(lines, labels, styles, strict=True):
                _draw_line(panel, line, name, label, marker, colour)
            panel.set_xlim(CLEAN - 0.4, SEVERITIES[-1] + 0.4)
            panel.set_xticks((CLEAN, *SEVERITIES))
            grid(panel)
            panel.set_title(name, fontsize=9)
        # Not `supxlabel`: that would stand in the legend.
        for panel in panels.flat[max(0, len(names) - columns) : len(names)]:
            panel.set_xlabel("severity (0: clean)")
        for panel in panels[:, 0]:
            panel.set_ylabel("accuracy (%)")
        task = task_of(records[0])._replace(corruption=None)
        figure.suptitle(wrapped(f"{task.dataset}, {task_title(task)}"), fontsize=9, fontweight="bold")
        # The first panel has every run, if only with an empty line.
        figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)

    lines_of_text = sum(label.count("\n") + 1 for label in labels)
    return figure_bytes((WIDTH, REST_HEIGHT + HEIGHT * rows + LEGEND_LINE * lines_of_text), paint, form)


def _checked(records: Sequence[RunRecord]) -> list[str]:
    """The corruptions in the records, in the order in which they are known.

    Raises:
        UsageError: the tasks differ in more than the corruption, or no images are corrupted.
        UserError: images were corrupted by different versions of the code.
    """
    check_one_task(records, but=("corruption", "fingerprint"))
    sections = [section for record in records if (section := record.task.corruption) is not None]
    if not sections:
        raise UsageError("no record is of corrupted images; give those of bench run --corruption NAME --severity 1,2,3,4,5 too")
    if len({record.task.clean_fingerprint for record in records}) > 1:
        raise UsageError("the records are of different images (fingerprint); give those of one dataset, prepared in one way")
    if len({section.version for section in sections}) > 1:
        raise UserError("the images were corrupted by different versions of fewbench; repeat the older runs with --overwrite")
    found = {section.name for section in sections}
    return sorted(found, key=lambda name: [*STRENGTHS, name].index(name))


def lines_of(records: Sequence[RunRecord]) -> list[dict[tuple[str | None, int], RunRecord]]:
    """The runs of each method and backbone by corruption and severity, (None, 0) for the clean images."""
    gathered: dict[str, dict[tuple[str | None, int], RunRecord]] = {}
    for record in records:
        section = record.task.corruption
        of_run = gathered.setdefault(answerer_of(record), {})
        place = (None, CLEAN) if section is None else (section.name, section.severity)
        known = of_run.setdefault(place, record)
        if record.n_episodes > known.n_episodes:
            of_run[place] = record
    return list(gathered.values())


def _draw_line(
    panel: Axes, line: Mapping[tuple[str | None, int], RunRecord], name: str, label: str, marker: str, colour: str
) -> None:
    """The clean run, and those of one corruption."""
    severities = ((None, CLEAN), *((name, severity) for severity in SEVERITIES))
    found = [(severity, line[key, severity]) for key, severity in severities if (key, severity) in line]
    points = [(severity, record.mean, record.half_width) for severity, record in found]
    draw_accuracies(panel, points, label, marker, colour)
