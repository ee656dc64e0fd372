"""`bench pretrain`: train a backbone on the train classes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    dataset: Annotated[str, typer.Option(help="Dataset whose train classes are learnt.")],
    backbone: Annotated[str, typer.Option(help="Backbone (bench list backbones).")] = "conv4",
    recipe: Annotated[
        str, typer.Option(help="supervised; clip, by texts; or without labels: rotation, simclr, barlow-twins, dino.")
    ] = "supervised",
    epochs: Annotated[int, typer.Option(help="Passes over the train images; 0 keeps the initial weights.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images a step, of all processes together.")] = 128,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate of AdamW; default: the recipe's.")] = None,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 1e-2,
    warmup_epochs: Annotated[float, typer.Option(help="Epochs, or a part of one, in which the learning rate rises.")] = 0.25,
    clip_norm: Annotated[float | None, typer.Option(help="Length that the gradient may have.")] = None,
    crop: Annotated[
        int | None, typer.Option(help="supervised, rotation, clip: pixels by which images are shifted at random; default 3.")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror images at random; default: colour images, where views are compared."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of initial weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    size: Annotated[
        int | None, typer.Option(help="Pixels to which images are resized; default: as stored, or as the network wants.")
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Norm layers of the backbone, the same as --set backbone.norm=.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Parameter, name=value; recipe., backbone. or dataset. before the name says whose."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16; default: bf16 on a GPU.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better one.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Stop after so many seconds; the same command goes on.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Weights file; default results/checkpoints/BACKBONE-DATASET[-RECIPE].safetensors.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Repeat a finished pretraining, or replace another.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin an interrupted pretraining anew.")] = False,
) -> None:
    """Pretrain a backbone; the epoch with the best few-shot accuracy on the val classes is kept.

    Example: bench pretrain --dataset trifeature --recipe simclr --epochs 5
    """
    from ...core.options import parse_assignments
    from ..training.options import check_options
    from ..training.pretrain_config import PretrainConfig

    config = PretrainConfig(
        dataset=dataset,
        backbone=backbone,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_epochs=warmup_epochs,
        clip_norm=clip_norm,
        crop=crop,
        flip=flip,
        seed=seed,
        device=device,
        size=size,
        norm=norm,
        precision=precision,
        patience=patience,
        settings=parse_assignments(set_ or []),
    )
    check_options({"time_limit": time_limit})
    from ..records.identity import file_safe  # torch is imported from here on, after what can be refused without it
    from ..training.loop.distributed import part_here
    from ..training.pretraining import pretrain as train
    from .terminal import TerminalProgress

    name = "-".join(file_safe(part) for part in (backbone, dataset, *([] if recipe == "supervised" else [recipe])))
    path = output or Path("results") / "checkpoints" / f"{name}.safetensors"
    path = train(config, path, TerminalProgress(), time_limit, overwrite, force)
    if part_here().rank == 0:
        typer.echo(path)
