"""Prompt sets compared: the accuracy of each on one task, and its paired difference to the single prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ...records.identity import parts_of
from ...records.labels import label_of, labels_of
from ...records.ranking import compare_records
from ...records.record import RunRecord
from ...records.statistics import PairedDifference
from ...records.task_words import task_label
from ...text.prompts import SINGLE
from .canvas import COLOURS, figure_bytes, wrapped
from .scaling import check_one_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW_HEIGHT, REST_HEIGHT = 7.0, 0.3, 1.1  # inches
PROMPTS = ("method.text.prompts", "method.text.prompts_sha256")  # what may differ
WORDS = {"method.name": "method", "method.text.names_sha256": "class names"}
LONGEST_PROMPTS = 24  # characters of a prompt set's name


def draw_prompts(records: Sequence[RunRecord], form: str = "svg") -> bytes:
    """Draw runs that differ in their prompts, in the order given: a row each.

    On the left stand accuracies with their t intervals, on the right mean differences to `single` over the common episodes with
    their paired t intervals.

    Args:
        records: at least two, that `check_prompts` takes.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: the records differ in more than their prompts, two have the same, or none has `single`.
        UserError: they are of the same task and drew different episodes.
    """
    single = check_prompts(records)
    differences = [None if record is single else compare_records(record, single) for record in records]
    labels = [_label(record) for record in records]

    def paint(figure: Figure) -> None:
        accuracy, difference = figure.subplots(1, 2, sharey=True)
        means, half_widths = [record.mean for record in records], [record.half_width for record in records]
        _draw(accuracy, range(len(records)), means, half_widths)
        _draw_differences(difference, differences)
        accuracy.set_yticks(range(len(records)), labels)
        accuracy.set_ylim(len(records) - 0.5, -0.5)  # the first on top
        accuracy.set_xlabel("accuracy (%)")
        difference.axvline(0, color="0.5", linewidth=1, linestyle="dashed")
        difference.set_xlabel(f"difference to {SINGLE} (points)")
        figure.suptitle(wrapped(f"{label_of(single)}; {task_label(single)}"), fontsize=9, fontweight="bold")

    return figure_bytes((WIDTH, REST_HEIGHT + ROW_HEIGHT * len(records)), paint, form)


def check_prompts(records: Sequence[RunRecord]) -> RunRecord:
    """Check that records differ in their prompts alone.

    Returns:
        The one with the single prompt.

    Raises:
        UsageError: says which are not, and why.
    """
    for record in records:
        if prompts_of(record) is None:
            raise UsageError(f"{label_of(record)} uses no prompts; give records of methods that do, such as clip-zero-shot")
    check_one_task(records)
    first = parts_of(records[0])
    for record in records:
        parts = {name: value for name, value in parts_of(record).items() if name not in PROMPTS}
        differing = [WORDS.get(name, name) for name, value in parts.items() if value != first[name]]
        if differing:
            both = ", and ".join(map(str, labels_of([records[0], record])))
            raise UsageError(f"the records differ in more than their prompts ({', '.join(differing)}): {both}")
    templates = Counter(_prompts_sha256(record) for record in records)
    for record in records:
        if templates[_prompts_sha256(record)] > 1:
            raise UsageError(f"several of the records have the prompts '{prompts_of(record)}'; give one of each set")
    single = next((record for record in records if prompts_of(record) == SINGLE), None)
    if single is None or len(records) == 1:
        missing = f"--prompts {SINGLE}" if single is None else "other prompts, such as --prompts ensemble"
        raise UsageError(f"differences are drawn to the single prompt: give a record with {missing} too")
    return single


def prompts_of(record: RunRecord) -> str | None:
    """Name of the prompt set; None for a method that uses none."""
    return None if record.method.text is None else record.method.text.prompts


def _prompts_sha256(record: RunRecord) -> str | None:
    return None if record.method.text is None else record.method.text.prompts_sha256


def _label(record: RunRecord) -> str:
    name = wrapped(str(prompts_of(record)), LONGEST_PROMPTS)
    return name if record.complete else f"{name} (partial)"


def _draw(panel: Axes, places: Sequence[int], means: Sequence[float], half_widths: Sequence[float | None]) -> None:
    """Points with intervals, fractions drawn as percent."""
    panel.errorbar(
        [100 * mean for mean in means],
        places,
        xerr=[100 * (half_width or 0.0) for half_width in half_widths],
        fmt="o",
        color=COLOURS[0],
        markersize=4,
        capsize=3,
    )
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)


def _draw_differences(panel: Axes, differences: Sequence[PairedDifference | None]) -> None:
    found = [(place, difference) for place, difference in enumerate(differences) if difference is not None]
    _draw(
        panel,
        [place for place, _ in found],
        [difference.mean for _, difference in found],
        [difference.half_width for _, difference in found],
    )
