"""`bench fit`: a classifier from a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..parts.lines import say
from .which import MinImages, Photos, options_of

if TYPE_CHECKING:
    from ...classifier.classifier import Classifier


def fit(
    photos: Photos,
    output: Annotated[Path, typer.Option(help="Folder of the classifier.")],
    method: Annotated[str, typer.Option(help="Method on features (bench list methods).")] = "ridge",
    backbone: Annotated[str | None, typer.Option(help="Backbone (bench list backbones); default: efficientnet-lite0.")] = None,
    weights: Annotated[str | None, typer.Option(help="Shipped weights or a file, as for bench run.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="File of bench train: backbone and learned modules.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Parameter of the method, name=value; dataset.name=, backbone.name=.")
    ] = None,
    quantile: Annotated[
        float, typer.Option(help="Share of known photos that count as known; the others are marked unlike.", min=0, max=1)
    ] = 0.95,
    min_images: MinImages = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a classifier that is there.")] = False,
) -> None:
    """Make a classifier of your own classes from all photos of a folder, for `bench predict`.

    It says how well the classifier does on photos that were held out: each is classified by the others.

    Example: bench fit photos --backbone timm:mobilenetv2_100 --weights mobilenetv2.safetensors --output groceries
    """
    from ....core.options import parse_assignments
    from ...classifier.files import check_free, save
    from ...classifier.fitting import fit_folder
    from ...config import RunConfig
    from ..parts.terminal import TerminalProgress

    check_free(output, overwrite)
    settings = parse_assignments(set_ or [])
    config = RunConfig(
        method=method,
        **options_of(photos, min_images),
        backbone=backbone,
        weights=weights,
        checkpoint=checkpoint,
        settings=settings,
        device=device,
    )
    progress = TerminalProgress()
    model = fit_folder(config, quantile, progress)
    save(model, output, overwrite)
    progress.say(_told(model))
    say(output)


def _told(model: Classifier) -> str:
    """How well the classifier does, in one line."""
    held, photos = model.calibration, len(model.labels)
    start = f"{photos} photos of {len(model.classes)} classes"
    if held.accuracy is None:
        return f"{start}; one photo a class: none could be held out, so nobody knows how well it does"
    few = "" if held.radius is not None else "; too few for probabilities that hold and for marking photos unlike all classes"
    low, high = held.interval()
    return (
        f"{start}; of {held.photos} held-out photos {held.accuracy:.1%} are right (95 % interval {low:.1%} to {high:.1%}){few}"
    )
