"""`bench train`: meta-train a method on episodes of the train classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ....core.options import Settings
from ...config import RESULTS
from ...training.meta.train_config import TrainConfig
from ...training.options import Effort
from ..parts.declared import takes
from ..parts.folders import Results
from ..parts.lines import say


@takes(TrainConfig, Effort)
def train(
    given: Settings,
    effort: Settings,
    norm: Annotated[str | None, typer.Option(help="Norm layers of the backbone, the same as --set backbone.norm=.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="Activation of the backbone, the same as --set backbone.activation=.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Checkpoint; default checkpoints/METHOD-BACKBONE-DATASET-NwayKshot.safetensors of --results."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Train so many times, with the seeds from --seed on; the file names end in -seedN.", min=2),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Meta-train a method; the state with the best accuracy on episodes of the val classes is kept.

    Example: bench train --method protonet --dataset trifeature --steps 1000
    """
    options = {"backbone.norm": norm, "backbone.activation": activation}
    short = {name: value for name, value in options.items() if value is not None}
    config, chosen = TrainConfig(**{**given, "settings": {**short, **given.get("settings", {})}}), Effort(**effort)
    from ...training.loop.distributed import part_here  # torch is imported from here on, after what can be refused without it
    from ...training.meta.meta_training import default_output, meta_train
    from ..parts.terminal import TerminalProgress

    path, progress = output or default_output(config, results), TerminalProgress()
    trainings = [(path, config)]
    if seeds is not None:
        numbers = range(config.seed, config.seed + seeds)
        trainings = [(path.with_name(f"{path.stem}-seed{n}{path.suffix}"), replace(config, seed=n)) for n in numbers]
    for one, config in trainings:
        written = meta_train(config, one, progress, chosen)
        if part_here().rank == 0:
            say(written)
