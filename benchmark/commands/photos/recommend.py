"""`bench recommend`: which method to take for your photos, and what to expect of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..parts.lines import say
from .which import MinImages, Photos, options_of

if TYPE_CHECKING:
    from ...classifier.recommending import Recommendation

MOST_CONFUSED = 3  # pairs of classes that are told


def recommend(
    photos: Photos,
    method: Annotated[
        list[str] | None, typer.Option(help="Method to try, also several; default: all that need no training.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Backbone (bench list backbones); default: efficientnet-lite0.")] = None,
    weights: Annotated[str | None, typer.Option(help="Shipped weights or a file, as for bench run.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Parameter, dataset.name= or backbone.name=value.")] = None,
    min_images: MinImages = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Photos a class to classify by; default: all that are not held out.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw accuracy by photos a class: a file .svg or .png.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare methods on your own photos, each classified by the others, and say which one to take.

    Example: bench recommend photos
    """
    from ....core.files import write_atomically
    from ....core.options import parse_assignments
    from ...classifier.recommending import recommend as try_all
    from ...config import RunConfig
    from ...reporting.figures.by_photos import draw
    from ...reporting.figures.canvas import form_of
    from ..parts.terminal import TerminalProgress, percent, print_table

    form = form_of(figure, option="--figure") if figure else None
    settings, chosen = parse_assignments(set_ or []), options_of(photos, min_images)
    config = RunConfig(**chosen, backbone=backbone, weights=weights, settings=settings, device=device)
    names = [name for each in method or [] for name in each.split(",")]
    found = try_all(config, names, TerminalProgress(), shots)
    rows = [
        [
            str(one.ranks),
            one.parts.name,
            percent(one.held.accuracy),
            f"{100 * one.interval[0]:.1f} to {100 * one.interval[1]:.1f}",
            f"{one.milliseconds:.2f}",
        ]
        for one in found.candidates
    ]
    print_table(("rank", "method", "right, %", "95 % interval", "ms a photo"), rows, right=(2, 3, 4))
    for line in _told(found, shots):
        say(line)
    if figure and form:
        write_atomically(figure, draw(found, form))
        say(figure)


def _told(found: Recommendation, shots: int | None) -> list[str]:
    """What the table means, in sentences."""
    best, held = found.candidates[0], len(found.candidates[0].held.labels)
    low, high = best.interval
    by = f" with {shots} photos a class" if shots else ""
    close = [one.parts.name for one in found.candidates[1:] if one.ranks.best == best.ranks.best]
    lines = [
        f"Take {best.parts.name}: expect {best.held.accuracy:.1%} right on new photos like these{by} "
        f"({low:.1%} to {high:.1%}), found on {held} held-out photos of {len(found.photos.classes)} classes."
    ]
    if close:
        lines.append(f"Not significantly worse: {', '.join(close)}.")
    if len(found.curve) > 1:
        (fewer, before), (most, now) = found.curve[-2:]
        steps = ", ".join(f"{shots}: {interval.mean:.1%}" for shots, interval in found.curve)
        lines.append(f"By photos a class: {steps}.")
        lines.append(f"From {fewer} to {most} photos a class brought {100 * (now.mean - before.mean):+.1f} points.")
    pairs = [f"{true} for {taken} ({count})" for true, taken, count in found.confusions[:MOST_CONFUSED]]
    if pairs:
        lines.append(f"Most often mistaken: {', '.join(pairs)}.")
    lines.append(f"Then: bench fit PHOTOS --method {best.parts.name} --output MODEL")
    return lines
