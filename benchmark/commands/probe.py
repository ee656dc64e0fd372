"""`bench probe`: how well attributes can be read off the layers of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.options import Settings
from ..config import RESULTS
from ..probe.config import ProbeConfig
from .parts.declared import takes
from .parts.folders import Results
from .parts.lines import say


@takes(ProbeConfig)
def probe(
    given: Settings,
    output: Annotated[
        Path | None, typer.Option(help="File to write: .json; default: probes/DATASET-WEIGHTS.json of --results.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Measure how well each attribute of images can be read linearly off each layer, before and after training.

    A logistic regression is fitted to each layer's numbers and tested on images of other classes.

    Example: bench probe --dataset trifeature --weights conv4-trifeature
    """
    config = ProbeConfig(**given)
    from ..probe.probe import probe as measure
    from ..probe.results import write_probe
    from ..records.identity import file_safe
    from .parts.terminal import TerminalProgress, percent, print_table

    found = measure(config, TerminalProgress())
    headers = ["layer", "numbers", *(f"{name} {when}" for name in found.values for when in ("before", "after"))]
    rows = []
    for layer in found.layers:
        of_layer = [found.at(layer, name) for name in found.values]
        rows.append([layer, str(of_layer[0].width), *(percent(value) for one in of_layer for value in (one.before, one.after))])
    chance = [percent(1 / count) for count in found.values.values() for _ in range(2)]
    print_table(headers, [*rows, ["chance", "", *chance]], right=range(1, len(headers)))
    path = output or results / "probes" / f"{file_safe(found.dataset)}-{file_safe(found.backbone.weights or 'hub')}.json"
    write_probe(found, path)
    say(path)
