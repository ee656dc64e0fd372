"""Accuracy after P, P>M, P>F and P>M>F: a panel for what was trained on and tested on, and for each number of shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ....core.errors import UsageError
from ...records.record import RunRecord
from ...records.stages import CHAINS, Stages, stages_of
from .canvas import COLOURS, INTERVALS, LEGEND_LINE, MARKERS, draw_accuracies, figure_bytes, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, REST_HEIGHT, REST_WIDTH = 1.9, 0.7, 0.5  # inches; a panel is a square
SPREAD = 0.14  # how far apart the points are at one stage
Column = tuple[str, str]  # trained on, tested on
Line = tuple[str, str]  # pretraining, backbone
Found = Mapping[tuple[Column, int, Line, str], RunRecord]


def draw_stages(records: Sequence[RunRecord], form: str = "svg") -> bytes:
    """Draw runs that differ in their stages, backbones, datasets and shots, with their t intervals.

    Dots, since stages are categories: a colour is a pretraining, a marker a backbone. Panels of one row have one scale.

    Args:
        records: at least one, no two of which have all of these in common.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same records and version of matplotlib.

    Raises:
        UsageError: shots vary within a task, or two records have the same place.
    """
    found = _placed(records)
    columns = sorted({column for column, _, _, _ in found}, key=lambda column: (column[0], column[0] != column[1], column[1]))
    rows = sorted({shots for _, shots, _, _ in found})
    lines = sorted({line for _, _, line, _ in found})

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
        for panels_of_row, shots in zip(panels, rows, strict=True):
            for panel, column in zip(panels_of_row, columns, strict=True):
                _draw_panel(panel, found, column, shots, lines)
            panels_of_row[0].set_ylabel(f"{shots}-shot accuracy (%)")
        for panel, (trained_on, tested_on) in zip(panels[0], columns, strict=True):
            panel.set_title(f"{trained_on}\n→ {tested_on}", fontsize=9)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=3, title=INTERVALS)

    height = REST_HEIGHT + PANEL * len(rows) + LEGEND_LINE * (2 + len(lines) / 3)
    return figure_bytes((REST_WIDTH + PANEL * max(len(columns), 3), height), paint, form)


def _placed(records: Sequence[RunRecord]) -> Found:
    found: dict[tuple[Column, int, Line, str], RunRecord] = {}
    for record in records:
        stages: Stages = stages_of(record)
        if record.task.shots is None:
            raise UsageError(f"a record of {record.task.dataset} has varying shots; give those with a fixed number of them")
        column, line = (stages.trained_on, record.task.dataset), (stages.pretraining, record.backbone.name)
        place = column, record.task.shots, line, stages.chain
        if place in found:
            raise UsageError(f"two records are {line[1]}, {line[0]} pretraining, {stages.chain}, of {column[0]} → {column[1]}")
        found[place] = record
    return found


def _draw_panel(panel: Axes, found: Found, column: Column, shots: int, lines: Sequence[Line]) -> None:
    recipes, backbones = (sorted({line[part] for line in lines}) for part in (0, 1))
    for number, line in enumerate(lines):
        offset = SPREAD * (number - (len(lines) - 1) / 2)
        there = [(place, record) for place, chain in enumerate(CHAINS) if (record := found.get((column, shots, line, chain)))]
        points = [(place + offset, record.mean, record.half_width) for place, record in there]
        colour = COLOURS[recipes.index(line[0]) % len(COLOURS)]
        label = f"{line[1]}, {'no' if line[0] == 'none' else line[0]} pretraining"
        draw_accuracies(panel, points, label, MARKERS[backbones.index(line[1]) % len(MARKERS)], colour, joined=False)
    panel.set_xticks(range(len(CHAINS)), CHAINS, fontsize=7)
    panel.set_xlim(-0.5, len(CHAINS) - 0.5)
    for between in range(1, len(CHAINS)):
        panel.axvline(between - 0.5, color="0.9", linewidth=0.8)
    grid(panel, "y")
