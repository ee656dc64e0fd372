"""`bench train`: meta-train a method on episodes of the train classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

PAPER = "default: the paper's for the dataset"


def train(
    context: typer.Context,
    method: Annotated[str, typer.Option(help="Method with a loss (bench show METHOD says so), or FILE.py:Class.")],
    dataset: Annotated[str, typer.Option(help="Dataset whose train classes are learnt.")],
    backbone: Annotated[str, typer.Option(help="Backbone (bench list backbones).")] = "conv4",
    weights: Annotated[str | None, typer.Option(help="What to start from; default: initial weights.")] = None,
    ways: Annotated[int | None, typer.Option(help=f"Classes a training episode; {PAPER}.")] = None,
    shots: Annotated[int | None, typer.Option(help=f"Support images a class; {PAPER}.")] = None,
    queries: Annotated[int | None, typer.Option(help=f"Query images a class; {PAPER}.")] = None,
    meta_batch: Annotated[int | None, typer.Option(help=f"Episodes a step, of all processes together; {PAPER}.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; default 10000.")] = None,
    sampler: Annotated[str, typer.Option(help="uniform, semantic, imbalanced or meta-dataset.")] = "uniform",
    optimizer: Annotated[str | None, typer.Option(help=f"adam, adamw, sgd or another that timm knows; {PAPER}.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help=f"Highest learning rate; {PAPER}.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"Weight decay; {PAPER}.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"cosine, step or constant; {PAPER}.")] = None,
    halve_every: Annotated[int | None, typer.Option(help="Steps after which --schedule step halves the rate.")] = None,
    warmup_steps: Annotated[int, typer.Option(help="Steps in which the learning rate rises.")] = 0,
    clip_norm: Annotated[float | None, typer.Option(help="Length that the gradient may have.")] = None,
    clip_value: Annotated[float | None, typer.Option(help=f"Size that an entry of the gradient may have; {PAPER}.")] = None,
    val_ways: Annotated[int, typer.Option(help="Classes a validation episode.")] = 5,
    val_queries: Annotated[int, typer.Option(help="Query images a class in validation episodes.")] = 15,
    val_episodes: Annotated[int, typer.Option(help="Validation episodes.")] = 600,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 500,
    size: Annotated[int | None, typer.Option(help="Pixels to which images are resized.")] = None,
    crop: Annotated[int, typer.Option(help="Pixels by which images are shifted at random.")] = 0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror images at random.")] = False,
    smallest_area: Annotated[
        float | None, typer.Option(help="Crop images at random to this share of their area or more, scaled back.")
    ] = None,
    jitter: Annotated[float, typer.Option(help="Largest change of brightness, contrast and saturation, 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of initial weights, episodes and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16; default: bf16 on a GPU.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many validations without a better one.")] = None,
    norm: Annotated[str | None, typer.Option(help="Norm layers of the backbone, the same as --set backbone.norm=.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Parameter of the method, name=value; backbone., dataset. or sampler. says whose else."),
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Stop after so many seconds; the same command goes on.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Checkpoint; default results/checkpoints/METHOD-BACKBONE-DATASET-NwayKshot.safetensors."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Repeat a finished training, or replace another.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin an interrupted training anew.")] = False,
) -> None:
    """Meta-train a method; the state with the best accuracy on episodes of the val classes is kept.

    Example: bench train --method protonet --dataset trifeature --steps 1000
    """
    from dataclasses import fields

    from ...core.options import parse_assignments
    from ..training.meta.train_config import TrainConfig
    from ..training.options import check_options

    settings: dict[str, Any] = {**({"backbone.norm": norm} if norm else {}), **parse_assignments(set_ or [])}
    options = {field.name: context.params[field.name] for field in fields(TrainConfig) if field.name != "settings"}
    config = TrainConfig(**options, settings=settings)
    check_options({"time_limit": time_limit})
    from ..training.loop.distributed import part_here  # torch is imported from here on, after mistakes are told
    from ..training.meta.meta_training import default_output, meta_train
    from .terminal import TerminalProgress

    path = meta_train(config, output or default_output(config), TerminalProgress(), time_limit, overwrite, force)
    if part_here().rank == 0:
        typer.echo(path)
