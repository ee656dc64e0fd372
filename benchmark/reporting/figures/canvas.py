"""The common look of the figures. The same content gives the same bytes, whatever the user's settings of matplotlib."""

from __future__ import annotations

import io
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ....core.errors import UsageError
from ...built_in import BUILT_IN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As far apart as the eye needs on white; the first seven are told apart by the colour-blind too.
COLOURS = (
    "#0b5394", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#0000ff", "#00cc00", "#ff00dd",
    "#ff0066", "#441199", "#660011", "#667700", "#aa88ff", "#dd9977", "#660055", "#ff0022", "#004411", "#aa44ff",
    "#664411", "#cc0088", "#99aa88", "#88bb00", "#008811", "#ee6666", "#0066ff", "#3399ff", "#bbaabb", "#ff77ee",
    "#774488", "#aa2222", "#226666", "#c0a000", "#5577aa", "#aa7755", "#338855", "#884422", "#7755dd", "#d0608a",
    "#405060", "#80a040", "#b06000", "#2060a0", "#905090", "#60b0a0", "#a04060", "#507030", "#c08060", "#6040a0",
)  # fmt: skip
MARKERS = "osD^vP<>d"  # no X: with its line and interval through it, it looks like a circle
LEGEND_LINE = 0.17  # inches
INTERVALS = "bars: 95 % intervals, where they are wider than the dot"
USUAL_WIDTH, LONGEST_LINE = 7.0, 80  # inches, and the characters that fit
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


def looks(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Marker and colour of each run by the name of its method.

    A method has one colour, the same in all figures unless two of one figure would share it; its runs differ in markers.
    Where all runs are of one method, they differ in colours too.
    """
    if len(set(methods)) == 1:
        return [(MARKERS[place % len(MARKERS)], COLOURS[place % len(COLOURS)]) for place in range(len(methods))]
    colours = colours_of(methods)
    before: Counter[str] = Counter()
    found = []
    for method in methods:
        place = COLOURS.index(colours[method]) + before[method]
        found.append((MARKERS[place % len(MARKERS)], colours[method]))
        before[method] += 1
    return found


def colours_of(methods: Iterable[str]) -> dict[str, str]:
    """The colour of each method: its own, or else the next one that is free among the methods given."""
    built_in = [*BUILT_IN["methods"]]
    colours: dict[str, str] = {}
    for name in sorted(set(methods)):
        own = built_in.index(name) if name in built_in else zlib.crc32(name.encode("utf-8"))
        turned = [COLOURS[(own + step) % len(COLOURS)] for step in range(len(COLOURS))]
        colours[name] = next((colour for colour in turned if colour not in colours.values()), turned[0])
    return colours


def grid(panel: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Draw light lines behind everything, in place of ticks at the side."""
    panel.grid(axis=axis, color="0.9")
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)


def draw_accuracies(
    panel: Axes,
    points: Iterable[tuple[float, float, float | None]],
    label: str,
    marker: str,
    colour: str,
    joined: bool = True,
) -> None:
    """Draw accuracies with their intervals.

    Args:
        panel: axes with percent on the vertical axis.
        points: abscissa, and mean and half-width (None without an interval) as fractions.
        label: text in the legend.
        marker: marker of each point.
        colour: colour of line and points.
        joined: whether a line joins the points, as it does for numbers; categories have nothing between them.
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
        linestyle="solid" if joined else "none",
        capsize=3 if joined else 0,
        elinewidth=1,
    )


def form_of(path: Path, forms: tuple[str, ...] = tuple(UNDATED), option: str = "--output") -> str:
    """The form of a file by its suffix, such as "svg"; messages name the option that gave it.

    Raises:
        UsageError: the suffix is none of `forms`.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in forms:
        raise UsageError(f"{option} {path}: end the name in {' or '.join(f'.{known}' for known in forms)}")
    return form


def wrapped(text: str, longest: int = LONGEST_LINE) -> str:
    """Text in lines of at most `longest` characters; nothing of it is left out."""
    return textwrap.fill(text, longest)


def wrapped_to(text: str, width: float) -> str:
    """Text in lines that fit a width in inches."""
    return wrapped(text, int(LONGEST_LINE * width / USUAL_WIDTH))
