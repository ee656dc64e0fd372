"""`bench pretrain`: train a backbone on the train classes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    dataset: Annotated[str, typer.Option(help="Dataset whose train classes are learnt.")],
    backbone: Annotated[str, typer.Option(help="Backbone (bench list backbones).")] = "conv4",
    recipe: Annotated[str, typer.Option(help="supervised: cross-entropy over the train classes.")] = "supervised",
    epochs: Annotated[int, typer.Option(help="Passes over the train images.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate of AdamW.")] = 2e-3,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 1e-2,
    crop: Annotated[int, typer.Option(help="Pixels by which images are shifted at random.")] = 3,
    flip: Annotated[bool, typer.Option(help="Mirror images at random.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[
        Path | None, typer.Option(help="Weights file; default results/checkpoints/BACKBONE-DATASET.safetensors.")
    ] = None,
) -> None:
    """Pretrain a backbone; the epoch with the best few-shot accuracy on the val classes is kept.

    Example: bench pretrain --dataset trifeature --epochs 5
    """
    from ..training.pretraining import PretrainConfig
    from ..training.pretraining import pretrain as train
    from .terminal import TerminalProgress

    config = PretrainConfig(
        dataset, backbone, recipe, epochs, batch_size, learning_rate, weight_decay, crop, flip, seed, device
    )
    path = output or Path("results") / "checkpoints" / f"{backbone}-{dataset}.safetensors"
    typer.echo(train(config, path, TerminalProgress()))
