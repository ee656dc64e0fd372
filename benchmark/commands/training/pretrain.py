"""`bench pretrain`: train a backbone on the train classes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ....core.options import Settings
from ...config import RESULTS
from ...training.options import Effort
from ...training.pretrain_config import PretrainConfig
from ..parts.declared import takes
from ..parts.folders import Results
from ..parts.lines import say


@takes(PretrainConfig, Effort)
def pretrain(
    given: Settings,
    effort: Settings,
    output: Annotated[
        Path | None,
        typer.Option(help="Weights file; default checkpoints/BACKBONE-DATASET[-RECIPE].safetensors of --results."),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Pretrain a backbone; the epoch with the best few-shot accuracy on the val classes is kept.

    Example: bench pretrain --dataset trifeature --recipe simclr --epochs 5
    """
    config, chosen = PretrainConfig(**given), Effort(**effort)
    from ...records.identity import file_safe  # torch is imported from here on, after what can be refused without it
    from ...training.loop.distributed import part_here
    from ...training.pretraining import pretrain as train
    from ..parts.terminal import TerminalProgress

    parts = (config.backbone, config.dataset, *([] if config.recipe == "supervised" else [config.recipe]))
    path = output or results / "checkpoints" / f"{'-'.join(map(file_safe, parts))}.safetensors"
    path = train(config, path, TerminalProgress(), chosen)
    if part_here().rank == 0:
        say(path)
