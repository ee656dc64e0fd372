"""The common look of the figures. The same content gives the same bytes, whatever the user's settings of matplotlib."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b5394", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")  # told apart by the colour-blind too
MARKERS = "osD^v"  # their number has no common divisor with that of the colours: 35 runs look different
LEGEND_LINE = 0.17  # inches
LONGEST_LINE = 80  # characters that fit a width of 7 inches
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fewbench",  # otherwise the ids in the file are random
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "font.size": 9,
    "savefig.dpi": 150,
    "text.parse_math": False,  # a `$` in a name is a `$`
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
UNDATED: dict[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def figure_bytes(size: tuple[float, float], paint: Callable[[Figure], None], form: str = "svg") -> bytes:
    """Draw a figure.

    Args:
        size: width and height in inches.
        paint: fills the figure.
        form: "svg" or "png".

    Returns:
        The file's content; the same bytes for the same drawing and version of matplotlib.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=size, layout="constrained")
        (FigureCanvasSVG if form == "svg" else FigureCanvasAgg)(figure)
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, metadata=UNDATED[form])
    return buffer.getvalue()


def looks() -> Iterator[tuple[str, str]]:
    """Marker and colour of each run in turn, endlessly."""
    return zip(itertools.cycle(MARKERS), itertools.cycle(COLOURS), strict=False)


def draw_accuracies(
    panel: Axes, points: Iterable[tuple[float, float, float | None]], label: str, marker: str, colour: str
) -> None:
    """Draw accuracies with their intervals as a line.

    Args:
        panel: axes with percent on the vertical axis.
        points: abscissa, and mean and half-width (None without an interval) as fractions.
        label: text in the legend.
        marker: marker of each point.
        colour: colour of line and points.
    """
    found = list(points)
    panel.errorbar(
        [place for place, _, _ in found],
        [100 * mean for _, mean, _ in found],
        yerr=[100 * (half_width or 0.0) for _, _, half_width in found],
        label=label,
        color=colour,
        marker=marker,
        markersize=5,
        capsize=3,
        elinewidth=1,
    )


def form_of(path: Path, forms: tuple[str, ...] = tuple(UNDATED)) -> str:
    """The form of a file by its suffix, such as "svg".

    Raises:
        UsageError: the suffix is none of `forms`.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in forms:
        raise UsageError(f"--output {path}: end the name in {' or '.join(f'.{known}' for known in forms)}")
    return form


def wrapped(text: str, longest: int = LONGEST_LINE) -> str:
    """Text in lines of at most `longest` characters; nothing of it is left out."""
    return textwrap.fill(text, longest)
