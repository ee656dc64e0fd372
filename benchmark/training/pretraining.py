"""Pretraining: a backbone learns from the train classes of a dataset; the val classes say which epoch to keep.

How it learns is the recipe's (recipes/). Test classes are never opened.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from ...tasks.datasets.base import Dataset, Split
from ...tasks.errors import UsageError, UserError
from ...tasks.parameters import build
from ...tasks.progress import SILENT, Progress
from .. import registry
from ..backbones.base import Backbone, Preprocess, feature_width
from ..backbones.loading import make_backbone
from ..device import choose_device
from ..provenance import code_version, package_version
from .command_line import command_line
from .distributed import local_device, part_here
from .learner import Learner
from .loop import Fitted, fit
from .networks import network_for
from .options import LoopOptions
from .outputs import folder_of, is_finished, publish
from .pretrain_config import PretrainConfig
from .recipes import find_recipe
from .recipes.base import Material, Recipe
from .train_images import TrainImages
from .validation import prototype_accuracy

CROP = 3  # pixels, where the recipe shifts images and nothing else is asked for
VALIDATION = {"ways": 5, "shots": 1, "episodes": 1000}


@dataclass(frozen=True)
class Pretraining:
    """A pretraining with its names resolved and its network built.

    Attributes:
        config: every choice made, none left to the recipe, the images or the device.
        dataset: where images come from.
        train: split that is learnt.
        val: split that validates.
        backbone: the recipe of the network.
        module: the network.
        preprocess: makes images ready for it.
        recipe: how it learns.
        generator: draws the initial weights of heads; it has drawn the network's.
        device: of this process.
    """

    config: PretrainConfig
    dataset: Dataset
    train: Split
    val: Split
    backbone: Backbone
    module: nn.Module
    preprocess: Preprocess
    recipe: Recipe
    generator: Generator
    device: torch.device

    def identity(self) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "config": json.loads(json.dumps(asdict(self.config))),
            "fingerprint": self.train.fingerprint,
            "processes": part_here().world,
        }


def pretrain(
    config: PretrainConfig,
    output: Path,
    progress: Progress,
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Path:
    """Train a backbone and write its best weights (by val accuracy) with their sidecar and the learning curves.

    Where the weights are there already, made in the same way, nothing is done; a pretraining that was interrupted goes on.

    Args:
        config: what to train.
        output: the safetensors file.
        progress: told of every epoch.
        time_limit: seconds after which this call stops; the same call goes on.
        overwrite: replace weights that are there.
        force: begin anew where a pretraining of the same output was interrupted.

    Returns:
        The safetensors file.

    Raises:
        UserError: a name is unknown, the weights there are of another pretraining, the time ran out, the loss is no longer
            finite, or a file cannot be written.
    """
    first = part_here().rank == 0
    progress = progress if first else SILENT
    plan = _plan(config, progress)
    if not overwrite and is_finished(output, plan.identity(), "bench pretrain"):
        progress.say(f"{output} is there already, nothing was trained; --overwrite repeats it")
        return output
    code = code_version()
    images = TrainImages(plan.train, plan.config.batch_size, plan.config.seed, plan.device)
    learner = _learner(plan, images)
    fitted = fit(
        learner,
        lambda: prototype_accuracy(learner.backbone, plan.preprocess, plan.val, plan.device, **VALIDATION),
        _options(plan.config, images.steps_per_epoch, time_limit),
        folder_of(output),
        plan.identity(),
        plan.device,
        progress,
        force,
    )
    if fitted.stopped == "time limit":
        steps = plan.config.epochs * images.steps_per_epoch
        raise UserError(f"stopped by --time-limit after {fitted.steps_done} of {steps} steps; the same command goes on")
    if first:
        publish(output, learner.backbone, _about(plan, fitted, images.steps_per_epoch, code))
    return output


def _plan(config: PretrainConfig, progress: Progress) -> Pretraining:
    """Look every name up, build the network, and decide what was left open."""
    device = local_device(choose_device(config.device))
    recipe_class = find_recipe(config.recipe)
    recipe = build(recipe_class, config.settings_of("recipe"), f"recipe {config.recipe}")
    owner = f"dataset {config.dataset}"
    dataset: Dataset = build(registry.load(registry.find("datasets", config.dataset)), config.settings_of("dataset"), owner)
    backbone = make_backbone(config.backbone, config.settings_of("backbone"))
    train, val = dataset.split("train", progress), dataset.split("val", progress)
    _check_batch(config, len(train.images))
    generator = Generator().manual_seed(config.seed)
    module, preprocess = network_for(config.size, backbone, train, generator)
    settings = {
        **{f"dataset.{name}": value for name, value in asdict(dataset).items()},
        **{f"backbone.{name}": value for name, value in backbone.parameters.items()},
        **{f"recipe.{name}": value for name, value in asdict(recipe).items()},
    }
    decided = replace(
        config,
        learning_rate=recipe.learning_rate if config.learning_rate is None else config.learning_rate,
        crop=config.crop if config.crop is not None else CROP if recipe.shifts else 0,
        flip=config.flip if config.flip is not None else not recipe.shifts and preprocess.channels == 3,
        device=device.type,
        size=preprocess.size,
        norm=None,  # the backbone's parameters say it
        precision=config.precision or ("bf16" if device.type == "cuda" else "fp32"),
        settings=settings,
    )
    module = module.to(device).to(memory_format=torch.channels_last)
    return Pretraining(decided, dataset, train, val, backbone, module, preprocess, recipe, generator, device)


def _check_batch(config: PretrainConfig, images: int) -> None:
    processes = part_here().world
    if config.batch_size > images:
        raise UsageError(f"--batch-size {config.batch_size}: the train classes have {images} images")
    if config.batch_size % processes or config.batch_size < 2 * processes:
        raise UsageError(
            f"--batch-size {config.batch_size}: at least 2 images"
            + (f" for each of {processes} processes, and as many for each" if processes > 1 else "")
        )


def _learner(plan: Pretraining, images: TrainImages) -> Learner:
    config = plan.config
    assert config.crop is not None and config.flip is not None
    material = Material(
        backbone=plan.module,
        width=feature_width(plan.module.eval(), plan.preprocess),
        images=images,
        classes=len(plan.train.class_ids),
        preprocess=plan.preprocess,
        crop=config.crop,
        flip=config.flip,
        steps=config.epochs * images.steps_per_epoch,
        generator=plan.generator,
    )
    return plan.recipe.learner(material).to(plan.device)


def _options(config: PretrainConfig, steps_per_epoch: int, time_limit: float | None) -> LoopOptions:
    assert config.learning_rate is not None and config.precision is not None
    return LoopOptions(
        steps=config.epochs * steps_per_epoch,
        validate_every=steps_per_epoch,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=steps_per_epoch // 4,
        precision=config.precision,  # type: ignore[arg-type]
        patience=config.patience,
        time_limit=time_limit,
        seed=config.seed,
    )


def _about(plan: Pretraining, fitted: Fitted, steps_per_epoch: int, code: dict[str, Any]) -> dict[str, Any]:
    """The sidecar."""
    config, processes = plan.config, part_here().world
    return {
        "backbone": registry.find("backbones", config.backbone).name,
        "backbone_parameters": plan.backbone.parameters,
        "preprocess": asdict(plan.preprocess),
        "pretraining": {
            "dataset": registry.find("datasets", config.dataset).name,
            "dataset_version": plan.dataset.version,
            "dataset_parameters": asdict(plan.dataset),
            "fingerprint": plan.train.fingerprint,
            "split": "train",
            "classes": len(plan.train.class_ids),
            "recipe": config.recipe,
            "recipe_parameters": asdict(plan.recipe),
            "epochs": fitted.steps_done / steps_per_epoch,
            "images": fitted.steps_done * config.batch_size,
            "seconds": round(fitted.seconds, 1),
            "stopped": fitted.stopped,
            "external": False,
        },
        "made_by": {
            "command": command_line("pretrain", asdict(config), processes),
            "config": asdict(config),
            "processes": processes,
            "device": plan.device.type,
            "git_commit": code["git_commit"],
            "fewbench": code["version"],
            "torch": package_version("torch"),
        },
        "val_accuracy": {
            **VALIDATION,
            "mean": fitted.best_value,
            "step": fitted.best_step,
            "epoch": fitted.best_step // steps_per_epoch,
        },
    }
