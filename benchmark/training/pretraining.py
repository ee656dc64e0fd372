"""Pretraining: a backbone learns from the train classes of a dataset; the val classes say which epoch to keep.

How it learns is the recipe's (recipes/). Test classes are never opened.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Generator

from ...core.errors import UsageError
from ...core.options import Settings, build, parameters_of
from ...core.progress import Progress
from ...methods.metric.protonet import ProtoNet
from ...methods.vision_language.clip_zero_shot import ClipZeroShot
from ...tasks.datasets.base import Dataset
from .. import registry
from ..backbones.base import feature_width
from ..backbones.weights.description import UNTRAINED, ValAccuracy
from ..backbones.weights.loading import backbone_class, make_backbone
from ..device import choose_device
from ..records.answerer import Pretraining
from ..records.provenance import without_folders
from ..text.captions import class_names
from ..text.prompts import SINGLE, find_prompts
from .loop.distributed import local_device, part_here
from .loop.learner import Learner
from .loop.loop import Fitted
from .meta.validation import Validation, check_classes
from .networks import network_for
from .options import USUAL_EFFORT, Effort, LoopOptions
from .plan import TrainingPlan, carry_out
from .pretrain_config import PretrainConfig
from .recipes import find_recipe
from .recipes.base import Material, Recipe
from .train_images import TrainImages

CROP = 3  # pixels, where the recipe shifts images and nothing else is asked for
VALIDATION = {"ways": 5, "shots": 1, "queries": 15, "episodes": 1000}


def pretrain(config: PretrainConfig, output: Path, progress: Progress, effort: Effort = USUAL_EFFORT) -> Path:
    """Train a backbone and write its best weights; `plan.carry_out` says what the other arguments mean and what is raised."""
    return carry_out(partial(plan_of, config), output, progress, effort)


def plan_of(config: PretrainConfig, progress: Progress) -> TrainingPlan:
    """Look every name up, build the network, and decide what was left open.

    Raises:
        UsageError: an unknown name or parameter, or a split too small for the batches or the validation.
    """
    device = local_device(choose_device(config.device))
    recipe: Recipe = build(find_recipe(config.recipe), config.settings_of("recipe"), f"recipe {config.recipe}")
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    backbone = make_backbone(config.backbone, {**_set_by(recipe, config), **config.settings_of("backbone")})
    check_classes(len(dataset.class_list("val")), VALIDATION["ways"])
    train = dataset.split("train", progress)
    _check_batch(config, len(train.images))
    generator = Generator().manual_seed(config.seed)
    module, preprocess = network_for(config.size, backbone, train, generator, with_text=recipe.reads_text)
    captions = recipe.captions_of(dataset, train, progress)
    teacher = recipe.teacher_of(dataset, train, device, progress)
    crop = config.crop if config.crop is not None else CROP if recipe.shifts else 0
    flip = config.flip if config.flip is not None else not recipe.shifts and train.images.shape[3] == 3
    precision = config.precision or ("bf16" if device.type == "cuda" else "fp32")
    learning_rate = recipe.learning_rate if config.learning_rate is None else config.learning_rate
    settings = {
        **{f"dataset.{name}": value for name, value in dataset.recorded_parameters().items()},
        **{f"backbone.{name}": value for name, value in backbone.parameters.items()},
        **{f"recipe.{name}": value for name, value in asdict(recipe).items()},
    }
    decided = replace(
        config,
        learning_rate=learning_rate,
        crop=crop,
        flip=flip,
        device=device.type,
        size=preprocess.size,
        norm=None,  # the backbone's parameters say it, as they do the activation
        activation=None,
        precision=precision,
        settings=settings,
    )
    module = module.to(device).to(memory_format=torch.channels_last)
    epoch = len(train.images) // config.batch_size  # steps
    captions_sha256 = None if captions is None else captions.file_sha256
    read = {"captions_sha256": captions_sha256, "start_sha256": None if teacher is None else teacher.seen.weights_sha256}

    def learner(folder: Path) -> Learner:
        """The network with the recipe's heads."""
        images = TrainImages(train, config.batch_size, config.seed, device)
        width, classes, steps = feature_width(module.eval(), preprocess), len(train.class_ids), config.epochs * epoch
        material = Material(module, width, images, classes, preprocess, crop, flip, steps, generator, captions, teacher)
        return recipe.learner(material).to(device)

    def history(fitted: Fitted) -> Pretraining:
        return Pretraining(
            dataset=registry.find("datasets", config.dataset).name,
            recipe=config.recipe if fitted.steps_done else UNTRAINED,
            external=teacher is not None and teacher.seen.external,
            started_from=None if teacher is None else teacher.seen,
            captions_sha256=captions_sha256,
            recipe_parameters={  # records of runs with these weights hold them: no folders of one machine
                name: without_folders(value) if isinstance(value, str) else value for name, value in asdict(recipe).items()
            },
            epochs=fitted.steps_done / epoch,
            images=fitted.steps_done * config.batch_size,
        )

    return TrainingPlan(
        verb="pretrain",
        config=decided,
        dataset=dataset,
        train=train,
        validation=_validation(recipe, dataset, progress),
        backbone=backbone,
        module=module,
        preprocess=preprocess,
        device=device,
        rule=recipe,
        loop=LoopOptions(
            steps=config.epochs * epoch,
            validate_every=epoch,
            optimizer=config.optimizer,
            learning_rate=learning_rate,
            weight_decay=config.weight_decay,
            warmup_steps=int(config.warmup_epochs * epoch),
            clip_norm=config.clip_norm,
            precision=precision,  # type: ignore[arg-type]
            patience=config.patience,
            seed=config.seed,
        ),
        learner=learner,
        history=history,
        val_accuracy=lambda fitted: ValAccuracy(epoch=fitted.best_step // epoch),
        files_sha256={name: value for name, value in read.items() if value is not None},
    )


def _set_by(recipe: Recipe, config: PretrainConfig) -> Settings:
    """The parameters that the recipe gives the backbone.

    Raises:
        UsageError: the backbone has no such parameter.
    """
    settings = recipe.backbone_settings()
    known = {one.name for one in parameters_of(backbone_class(config.backbone))}
    for name in settings.keys() - known:
        raise UsageError(
            f"recipe {config.recipe} sets backbone.{name}, which {config.backbone} lacks; take conv4, resnet12 or vit"
        )
    return settings


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
