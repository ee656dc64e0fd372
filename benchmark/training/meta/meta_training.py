"""Meta-training: a backbone, and what a method learns beside it, from episodes of the train classes.

Episodes of the val classes, always the same, say which state to keep. Test classes are never opened.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Generator

from ....core.errors import UsageError
from ....core.files import write_atomically
from ....core.progress import Progress
from ....methods.base import Method
from ....tasks.datasets.base import Dataset
from ....tasks.samplers import check_ways
from ... import registry
from ...backbones.base import feature_width
from ...backbones.weights.description import MetaTrained
from ...built_in import BUILT_IN
from ...config import RunConfig
from ...device import choose_device
from ...evaluation.plan import make_method
from ...evaluation.sampling import Sampling, sampling_of
from ...records.answerer import Method as Section
from ...records.answerer import Pretraining
from ...records.identity import file_safe
from ..augmentation import Augmentation
from ..loop.distributed import local_device, part_here
from ..loop.loop import Fitted
from ..networks import network_of
from ..options import USUAL_EFFORT, Effort, LoopOptions
from ..plan import TrainingPlan, carry_out
from ..train_images import StoredImages
from .meta_learner import EpisodeSource, MetaLearner
from .train_config import TrainConfig
from .validation import Validation, check_classes

SETTLED = "method.json"  # in the folder of the checkpoints: the parameters that the method decided by timing


def meta_train(config: TrainConfig, output: Path, progress: Progress, effort: Effort = USUAL_EFFORT) -> Path:
    """Meta-train a method and write its best state; `plan.carry_out` says what the other arguments mean and what is raised."""
    return carry_out(partial(plan_of, config), output, progress, effort)


def _settled(learner: MetaLearner, folder: Path) -> Method:
    """The learner's method with nothing left to timing; what it decided is kept with the checkpoints."""
    method, kept = learner.method, folder / SETTLED
    if part_here().world > 1:
        return method.settled(None)
    if not kept.is_file():
        part, networks = part_here(), {"backbone": learner.backbone.train(), "learned": learner.learned}
        settled = method.settled(lambda: replace(learner.batch(0, part), **networks))
        decided = {name: value for name, value in settled.parameters.items() if value != method.parameters.get(name)}
        if not decided:
            return method
        write_atomically(kept, json.dumps(decided).encode())
    return replace(method, **json.loads(kept.read_text(encoding="utf-8")))


def plan_of(config: TrainConfig, progress: Progress) -> TrainingPlan:
    """Look every name up, build the networks, and decide what was left open.

    Raises:
        UsageError: as of `decide`, or a split too small for the episodes.
    """
    device = local_device(choose_device(config.device))
    decided, method, section, dataset, sampling = decide(config, device)
    _check_ways(decided, method, sampling.shape["ways"])
    train = dataset.split("train", progress)
    shots = decided.shots or 1
    val = dataset.split("val", progress)
    validation = Validation.of(method, val, decided.val_ways, shots, decided.val_queries, decided.val_episodes)
    generator = Generator().manual_seed(decided.seed)
    backbone, parameters, module, preprocess, start = network_of(decided, train, generator, progress)
    if decided.jitter and preprocess.channels == 1:
        raise UsageError(f"--jitter {decided.jitter:g}: the images are grey")
    width, ways = feature_width(module.eval(), preprocess), sampling.shape["ways"]
    learned = method.learned_part(module, width, ways or 0, generator)
    settings = {
        **{f"dataset.{name}": value for name, value in dataset.recorded_parameters().items()},
        **{f"backbone.{name}": value for name, value in parameters.items()},
        **{f"sampler.{name}": value for name, value in sampling.parameters.items()},
        **section.parameters,
    }
    module = module.requires_grad_(True).to(device)
    meta_batch = decided.meta_batch or 1

    def learner(folder: Path) -> MetaLearner:
        """Networks and method with the episodes that they learn from."""
        augmentation = Augmentation(decided.crop, decided.flip, decided.smallest_area, decided.jitter)
        images, sampler = StoredImages(train, device), sampling.over(dataset, train)
        source = EpisodeSource(sampler, images, preprocess, meta_batch, augmentation, decided.seed)
        made = MetaLearner(method, method.inputs_with("none"), module, learned, source).to(device)
        made.method = _settled(made, folder)
        return made

    def history(fitted: Fitted) -> Pretraining:
        return Pretraining(
            dataset=registry.find("datasets", config.dataset).name,
            recipe=_past(section.name, sampling, start),
            external=start is not None and start.external,
            steps=fitted.steps_done,
            started_from=start,
            episodes=fitted.steps_done * meta_batch,
        )

    return TrainingPlan(
        verb="train",
        config=replace(decided, size=preprocess.size, settings=settings),
        dataset=dataset,
        train=train,
        validation=validation,
        backbone=backbone,
        module=module,
        preprocess=preprocess,
        device=device,
        rule=method,
        loop=loop_options(decided),
        learner=learner,
        history=history,
        learned=learned,
        method=MetaTrained(section.name, section.parameters, ways, sampling.shape["shots"]),
        files_sha256={} if start is None or start.weights_sha256 is None else {"start_sha256": start.weights_sha256},
    )


def default_output(config: TrainConfig, results: Path) -> Path:
    """The default path of a meta-training's weights.

    Args:
        config: the training.
        results: folder of `checkpoints`.

    Raises:
        UsageError: an unknown name.
    """
    method, dataset = registry.find("methods", config.method), registry.find("datasets", config.dataset).name
    options = config.decided(registry.load(method), dataset)
    parts = (method.name, config.backbone, dataset, f"{options['ways']}way{options['shots']}shot")
    return results / "checkpoints" / f"{'-'.join(file_safe(part) for part in parts)}.safetensors"


class Decided(NamedTuple):
    """A configuration with nothing left open that weights and images do not decide, and what it names."""

    config: TrainConfig
    method: Method
    section: Section  # of a record, about the method
    dataset: Dataset
    sampling: Sampling


def decide(config: TrainConfig, device: torch.device) -> Decided:
    """Look names up and take the paper's settings where nothing was said, before weights are read or images opened.

    Raises:
        UsageError: an unknown name or parameter, a method without a loss, options that do not go together, or too few classes.
    """
    method, section = make_method(config.method, config.settings_of("method"))
    if not method.meta_trained:
        known = [name for name in BUILT_IN["methods"] if registry.load(registry.find("methods", name)).meta_trained]
        raise UsageError(f"method {config.method} is not meta-trained; {', '.join(known)} are")
    entry = registry.find("datasets", config.dataset)
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    chosen = config.decided(type(method), entry.name)
    halves = device.type == "cuda" and method.inputs_with("none") == "features"  # an inner loop would round at every step
    precision = config.precision or ("bf16" if halves else "fp32")
    config = replace(config, device=device.type, precision=precision, **chosen)
    loop_options(config)  # refuses what does not go together
    _check_meta_batch(config)
    sampling = _sampling(config)
    check_ways(sampling.shape["ways"], len(dataset.class_list("train")))
    check_classes(len(dataset.class_list("val")), config.val_ways)
    return Decided(config, method, section, dataset, sampling)


def loop_options(config: TrainConfig) -> LoopOptions:
    """The options of the configuration that the loop knows."""
    names = (
        "steps", "validate_every", "optimizer", "learning_rate", "weight_decay", "schedule", "halve_every", "warmup_steps",
        "clip_norm", "clip_value", "precision", "patience", "seed",
    )  # fmt: skip
    return LoopOptions(**{name: getattr(config, name) for name in names})


def _check_meta_batch(config: TrainConfig) -> None:
    processes = part_here().world
    if config.meta_batch is not None and config.meta_batch % processes:
        raise UsageError(f"--meta-batch {config.meta_batch}: as many episodes for each of {processes} processes")


def _sampling(config: TrainConfig) -> Sampling:
    """The sampler of the training episodes with its parameters."""
    numbers = {name: getattr(config, name) for name in ("ways", "shots", "queries", "steps", "meta_batch")}
    drawn = RunConfig(
        dataset=config.dataset, split="train", sampler=config.sampler, ways=numbers["ways"], shots=numbers["shots"],
        queries=numbers["queries"], episodes=numbers["steps"] * numbers["meta_batch"], seed=config.seed,
        settings=config.settings,
    )  # fmt: skip
    return sampling_of(drawn)


def _check_ways(config: TrainConfig, method: Method, ways: int | None) -> None:
    """Check that a classifier with an output for each class of a training episode can answer all episodes.

    Raises:
        UsageError: training episodes vary, or validation episodes have more classes.
    """
    if not method.fixed_ways:
        return
    if ways is None:
        raise UsageError(f"--sampler {config.sampler}: {config.method} meta-trains a classifier, of a fixed number of classes")
    if config.val_ways > ways:
        raise UsageError(
            f"--val-ways {config.val_ways}: {config.method} meta-trains a classifier of {ways} classes; take --val-ways {ways}"
        )


def _past(method: str, sampling: Sampling, start: Pretraining | None) -> str:
    """The history of the weights in a few words: what they started from, then the episodes that they were trained on."""
    shape = sampling.shape
    episodes = "varying" if shape["ways"] is None else f"{shape['ways']}-way {shape['shots']}-shot"
    before = f"{start.recipe} on {start.dataset}, then " if start else ""
    return f"{before}{method} {episodes}"
