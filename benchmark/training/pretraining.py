"""Pretraining: a backbone learns from the train classes of a dataset; the val classes say which epoch to keep.

How it learns is the recipe's (recipes/). Test classes are never opened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Generator, nn

from ...core.errors import UsageError
from ...core.options import build
from ...core.progress import Progress
from ...methods.clip_zero_shot import ClipZeroShot
from ...methods.protonet import ProtoNet
from ...tasks.datasets.base import Dataset
from .. import registry
from ..backbones.base import feature_width
from ..backbones.weights.description import UNTRAINED
from ..backbones.weights.loading import make_backbone
from ..device import choose_device
from ..text.captions import Captions, class_names
from ..text.prompts import SINGLE, find_prompts
from .loop.distributed import local_device, part_here
from .loop.learner import Learner
from .loop.loop import Fitted
from .meta.validation import Validation, check_classes
from .networks import network_for
from .options import LoopOptions
from .plan import TrainingPlan, carry_out
from .pretrain_config import PretrainConfig
from .recipes import find_recipe
from .recipes.base import Material, Recipe
from .train_images import TrainImages

CROP = 3  # pixels, where the recipe shifts images and nothing else is asked for
VALIDATION = {"ways": 5, "shots": 1, "queries": 15, "episodes": 1000}


@dataclass(frozen=True)
class Pretraining(TrainingPlan):
    """A pretraining with its names resolved and its network built.

    Attributes:
        recipe: how the network learns.
        generator: draws the initial weights of heads; it has drawn the network's.
        captions: what is said of the train images, for recipes that read texts.
    """

    verb: ClassVar[str] = "pretrain"
    config: PretrainConfig
    recipe: Recipe
    generator: Generator
    captions: Captions | None

    @property
    def rule(self) -> Recipe:
        """The recipe."""
        return self.recipe

    @property
    def files_sha256(self) -> dict[str, str]:
        """Of the file of captions."""
        sha256 = None if self.captions is None else self.captions.file_sha256
        return {} if sha256 is None else {"captions_sha256": sha256}

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.train.images) // self.config.batch_size

    def learner(self, folder: Path) -> Learner:
        """The network with the recipe's heads."""
        config = self.config
        assert config.crop is not None and config.flip is not None
        material = Material(
            backbone=self.module,
            width=feature_width(self.module.eval(), self.preprocess),
            images=TrainImages(self.train, config.batch_size, config.seed, self.device),
            classes=len(self.train.class_ids),
            preprocess=self.preprocess,
            crop=config.crop,
            flip=config.flip,
            steps=config.epochs * self.steps_per_epoch,
            generator=self.generator,
            captions=self.captions,
        )
        return self.recipe.learner(material).to(self.device)

    def options(self, time_limit: float | None) -> LoopOptions:
        """A validation an epoch."""
        config, steps_per_epoch = self.config, self.steps_per_epoch
        assert config.learning_rate is not None and config.precision is not None
        return LoopOptions(
            steps=config.epochs * steps_per_epoch,
            validate_every=steps_per_epoch,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup_steps=int(config.warmup_epochs * steps_per_epoch),
            clip_norm=config.clip_norm,
            precision=config.precision,  # type: ignore[arg-type]
            patience=config.patience,
            time_limit=time_limit,
            seed=config.seed,
        )

    def kept(self, learner: Learner) -> nn.Module:
        """The backbone without heads, or both towers."""
        return learner.kept()

    def own_sections(self, fitted: Fitted) -> dict[str, dict[str, Any]]:
        """The recipe and its epochs."""
        return {
            "pretraining": {
                "recipe": self.config.recipe if fitted.steps_done else UNTRAINED,
                "recipe_parameters": asdict(self.recipe),
                **self.files_sha256,
                "epochs": fitted.steps_done / self.steps_per_epoch,
                "images": fitted.steps_done * self.config.batch_size,
                "external": False,
            },
            "val_accuracy": {"epoch": fitted.best_step // self.steps_per_epoch},
        }


def pretrain(
    config: PretrainConfig,
    output: Path,
    progress: Progress,
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Path:
    """Train a backbone and write its best weights; `plan.carry_out` says what the other arguments mean and what is raised."""
    return carry_out(partial(plan_of, config), output, progress, time_limit, overwrite, force)


def plan_of(config: PretrainConfig, progress: Progress) -> Pretraining:
    """Look every name up, build the network, and decide what was left open.

    Raises:
        UsageError: an unknown name or parameter, or a split too small for the batches or the validation.
    """
    device = local_device(choose_device(config.device))
    recipe_class = find_recipe(config.recipe)
    recipe = build(recipe_class, config.settings_of("recipe"), f"recipe {config.recipe}")
    owner = f"dataset {config.dataset}"
    dataset: Dataset = build(registry.load(registry.find("datasets", config.dataset)), config.settings_of("dataset"), owner)
    backbone = make_backbone(config.backbone, config.settings_of("backbone"))
    check_classes(len(dataset.class_list("val")), VALIDATION["ways"])
    train = dataset.split("train", progress)
    _check_batch(config, len(train.images))
    generator = Generator().manual_seed(config.seed)
    module, preprocess = network_for(config.size, backbone, train, generator, with_text=recipe.reads_text)
    validation = _validation(recipe, dataset, progress)
    captions = recipe.captions_of(dataset, train, progress)
    settings = {
        **{f"dataset.{name}": value for name, value in asdict(dataset).items()},
        **{f"backbone.{name}": value for name, value in backbone.parameters.items()},
        **{f"recipe.{name}": value for name, value in asdict(recipe).items()},
    }
    decided = replace(
        config,
        learning_rate=recipe.learning_rate if config.learning_rate is None else config.learning_rate,
        crop=config.crop if config.crop is not None else CROP if recipe.shifts else 0,
        flip=config.flip if config.flip is not None else not recipe.shifts and train.images.shape[3] == 3,
        device=device.type,
        size=preprocess.size,
        norm=None,  # the backbone's parameters say it
        precision=config.precision or ("bf16" if device.type == "cuda" else "fp32"),
        settings=settings,
    )
    module = module.to(device).to(memory_format=torch.channels_last)
    plan = (decided, dataset, train, validation, backbone, module, None, preprocess, device, recipe, generator, captions)
    return Pretraining(*plan)


def _validation(recipe: Recipe, dataset: Dataset, progress: Progress) -> Validation:
    """ProtoNet with one shot; for recipes that read texts zero-shot, on the queries of the same episodes."""
    split = dataset.split("val", progress)
    if not recipe.reads_text:
        return Validation.of(ProtoNet(), split, **VALIDATION)
    prompts = find_prompts(SINGLE, dataset.name)
    texts = tuple(prompts.fill(name)[0] for name in class_names(split, progress))
    validation = Validation.of(ClipZeroShot(), split, **VALIDATION)
    return replace(validation, texts=texts, shape={**validation.shape, "shots": 0})


def _check_batch(config: PretrainConfig, images: int) -> None:
    processes = part_here().world
    if config.batch_size > images:
        raise UsageError(f"--batch-size {config.batch_size}: the train classes have {images} images")
    if config.batch_size % processes or config.batch_size < 2 * processes:
        raise UsageError(
            f"--batch-size {config.batch_size}: at least 2 images"
            + (f" for each of {processes} processes, and as many for each" if processes > 1 else "")
        )
