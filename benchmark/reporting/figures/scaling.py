"""Accuracy against what a backbone costs: its number of parameters, and the time that it takes to encode an image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ...records.identity import task_of
from ...records.labels import labels_of
from ...records.record import RunRecord
from ...records.task_words import task_label
from .canvas import LEGEND_LINE, LONGEST_LINE, figure_bytes, grid, looks, wrapped, wrapped_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 7.0, 3.4  # inches
ROOM = 2  # factor between the outermost points and the ends of an axis
Cost = Callable[[RunRecord], float | None]


def draw_scaling(records: Sequence[RunRecord], form: str = "svg", names: Sequence[str] = (), width: float = WIDTH) -> bytes:
    """Draw runs on one task, in the order given: a point each, with its t interval, in a panel for each cost.

    A run stands in the panels of the costs that it knows; a panel that would be empty is left out.

    Args:
        records: at least one, each with `parameters_of_network`.
        form: "svg" or "png".
        names: what each is called; none for what differs among them.
        width: in inches; panels of a narrow figure are one below the other.

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: the records are of several tasks.
    """
    check_one_task(records)
    devices = {device for record in records if (device := _device(record)) is not None}
    machines = [f", on {device}" if len(devices) > 1 and (device := _device(record)) else "" for record in records]
    named = zip(names or labels_of(records), machines, strict=True)
    labels = [wrapped_to(f"{label}{machine}", width) for label, machine in named]
    styles = looks([record.method.name for record in records])
    where = f" ({devices.pop()})" if len(devices) == 1 else ""
    costs: dict[str, Cost] = {
        "network parameters": parameters_of_network,
        f"encoding, milliseconds an image{where}": milliseconds_an_image,
    }
    costs = {axis: cost for axis, cost in costs.items() if any(cost(record) is not None for record in records)}
    rows = len(costs) if width < WIDTH else 1

    def paint(figure: Figure) -> None:
        panels = figure.subplots(rows, len(costs) // rows, sharey=True, squeeze=False).flat
        for panel, (axis, cost) in zip(panels, costs.items(), strict=True):
            for record, label, (marker, colour) in zip(records, labels, styles, strict=True):
                _draw_run(panel, record, cost(record), label, marker, colour)
            _scale(panel, [value for record in records if (value := cost(record)) is not None])
            grid(panel)
            panel.set_xlabel(wrapped(axis, LONGEST_LINE // 2))
        panels[0].set_ylabel("accuracy (%)")
        figure.suptitle(wrapped_to(task_label(records[0]), width), fontsize=9, fontweight="bold")
        # The first panel has every run.
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)

    lines_of_text = sum(label.count("\n") + 1 for label in labels)
    return figure_bytes((width, rows * HEIGHT + LEGEND_LINE * lines_of_text), paint, form)


def parameters_of_network(record: RunRecord) -> int | None:
    """Parameters of the backbone, without adapters; None where the record is older than that number."""
    return record.backbone.network_parameters


def milliseconds_an_image(record: RunRecord) -> float | None:
    """Time of encoding one image in the batch that its features came from; None where nothing was timed."""
    encoding = record.timing.encoding
    if encoding is None or not encoding.images or encoding.seconds <= 0:
        return None
    return 1000 * encoding.seconds / encoding.images


def check_one_task(records: Sequence[RunRecord], but: Collection[str] = ()) -> None:
    """Check that records are of one task.

    Args:
        records: at least one.
        but: what may differ, of the fields of `TaskKey`.

    Raises:
        UsageError: says in what the tasks differ.
    """
    first = task_of(records[0])
    for record in records:
        key = task_of(record)
        differing = [name for name in key._fields if name not in but and getattr(key, name) != getattr(first, name)]
        if differing:
            raise UsageError(
                f"the records are of several tasks: {task_label(records[0])}, and {task_label(record)} "
                f"(differing in {', '.join(differing)}); give those of one"
            )


def _device(record: RunRecord) -> str | None:
    """The device that encoded the images, for records with a time."""
    encoding = record.timing.encoding
    if encoding is None or milliseconds_an_image(record) is None:
        return None
    return encoding.device_name or encoding.device


def _scale(panel: Axes, costs: Sequence[float]) -> None:
    """A log axis with ticks at 1, 3, 10, 30, … in plain words: powers would need math text, which names must not be read as."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

    panel.set_xscale("log")
    panel.set_xlim(min(costs) / ROOM, max(costs) * ROOM)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    panel.xaxis.set_minor_locator(NullLocator())
    large = EngFormatter(sep="")  # 300k, 1M
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: large(value) if value >= 1000 else f"{value:g}"))


def _draw_run(panel: Axes, record: RunRecord, cost: float | None, label: str, marker: str, colour: str) -> None:
    if cost is None:
        return
    panel.errorbar(
        [cost],
        [100 * record.mean],
        yerr=[100 * (record.half_width or 0.0)],
        label=label,
        color=colour,
        marker=marker,
        linestyle="none",
        markersize=5,
        capsize=3,
        elinewidth=1,
    )
