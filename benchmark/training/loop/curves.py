"""Learning curves: what was measured at which step, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from ...reporting.figures.canvas import COLOURS, figure_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 1000  # of a whole training, apart from those of validations
OWN_COLUMNS = ("step", "learning_rate", "seconds", "validation")  # the others are measured at every step
WIDTH, PANEL_HEIGHT = 7.0, 2.0  # inches


class SavedCurves(TypedDict):
    """Curves as JSON has them, with exact numbers."""

    columns: list[str]
    rows: list[list[float | None]]
    sums: dict[str, float]
    count: int


@dataclass
class Curves:
    """Rows of means over the steps since the row before.

    Attributes:
        rows: one mapping a row: step (how many were done), loss, the learner's figures, learning_rate (of the last step),
            seconds (of training so far) and validation (None where there was none).
        sums: of the steps since the last row.
        count: how many these are.
    """

    rows: list[dict[str, float | None]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def from_json(cls, content: SavedCurves) -> Curves:
        """Read back what `to_json` gave."""
        rows = [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]
        return cls(rows, content["sums"], content["count"])

    def to_json(self) -> SavedCurves:
        """Everything."""
        return {
            "columns": self._columns(),
            "rows": [[*row.values()] for row in self.rows],
            "sums": self.sums,
            "count": self.count,
        }

    def add(self, measured: dict[str, float]) -> None:
        """Take in one step's loss and figures, the same names at every step."""
        for name, value in measured.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def close_row(self, step: int, learning_rate: float, seconds: float) -> None:
        """Make a row of what was taken in since the last one."""
        means = {name: value / self.count for name, value in self.sums.items()}
        times = {"learning_rate": learning_rate, "seconds": seconds, "validation": None}
        self.rows.append({"step": step, **means, **times})
        self.sums, self.count = {}, 0

    def validated(self, value: float) -> None:
        """Note the validation at the last row's step."""
        self.rows[-1]["validation"] = value

    def validations(self) -> list[tuple[int, float]]:
        """Steps and values."""
        return [(int(row["step"] or 0), row["validation"]) for row in self.rows if row["validation"] is not None]

    def csv(self) -> bytes:
        """The rows as a CSV file; an empty cell where there was no validation."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns())
        writer.writerows(row.values() for row in self.rows)
        return text.getvalue().encode()

    def png(self) -> bytes:
        """A picture: loss, figures and validation, one below the other, against the step."""
        names = [name for name in self._columns() if name not in ("step", "learning_rate", "seconds")]

        def paint(figure: Figure) -> None:
            panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
            for panel, name in zip(panels, names, strict=True):
                points = [(row["step"], row[name]) for row in self.rows if row[name] is not None]
                mark = "o-" if name == "validation" else "-"
                panel.plot(*zip(*points, strict=True) if points else ([], []), mark, markersize=3, color=COLOURS[0])
                panel.set_ylabel(name)
                panel.grid(color="0.9")
            panels[-1].set_xlabel("step")

        return figure_bytes((WIDTH, PANEL_HEIGHT * len(names)), paint, "png")

    def _columns(self) -> list[str]:
        return [*self.rows[0]] if self.rows else ["step", "loss", "learning_rate", "seconds", "validation"]
