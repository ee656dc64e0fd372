"""What the options of a meta-training come to: names looked up, the paper's settings filled in, and mistakes told.

Nothing here opens images or reads weights, so that all of it can be asked before hours of other training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ....core.errors import UsageError
from ....methods.base import Method
from ....tasks.datasets.base import Dataset
from ....tasks.samplers import check_ways
from ... import registry
from ...config import RunConfig
from ...evaluation.plan import make_method
from ...evaluation.sampling import Sampling, sampling_of
from ...records.record import file_safe
from ..meta.paper_settings import settings_of
from ..meta.train_config import OF_THE_PAPER, TrainConfig
from ..meta.validation import check_classes
from ..options import LoopOptions
from .distributed import part_here


def default_output(config: TrainConfig) -> Path:
    """Where a checkpoint goes for which nothing was said.

    Raises:
        UsageError: an unknown name.
    """
    method, dataset = registry.find("methods", config.method).name, registry.find("datasets", config.dataset).name
    paper = settings_of(method, dataset)
    ways, shots = (getattr(config, name) or paper[name] for name in ("ways", "shots"))
    parts = (method, config.backbone, dataset, f"{ways}way{shots}shot")
    return Path("results") / "checkpoints" / f"{'-'.join(file_safe(part) for part in parts)}.safetensors"


class Decided(NamedTuple):
    """A configuration with nothing left open that weights and images do not decide, and what it names."""

    config: TrainConfig
    method: Method
    section: dict[str, Any]  # of a record, about the method
    dataset: Dataset
    sampling: Sampling


def decide(config: TrainConfig, device: torch.device) -> Decided:
    """Look names up and take the paper's settings where nothing was said, before weights are read or images opened.

    Raises:
        UsageError: an unknown name or parameter, a method without a loss, options that do not go together, or too few classes.
    """
    method, section = make_method(config.method, config.settings_of("method"))
    if not method.meta_trained:
        known = [name for name in registry.BUILT_IN["methods"] if registry.load(registry.find("methods", name)).meta_trained]
        raise UsageError(f"method {config.method} is not meta-trained; {', '.join(known)} are")
    entry = registry.find("datasets", config.dataset)
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    paper = settings_of(section["name"], entry.name)
    chosen = {name: paper[name] if getattr(config, name) is None else getattr(config, name) for name in OF_THE_PAPER}
    if chosen["schedule"] != "step" and config.halve_every is None:
        chosen["halve_every"] = None
    halves = device.type == "cuda" and method.inputs_with("none") == "features"  # an inner loop would round at every step
    precision = config.precision or ("bf16" if halves else "fp32")
    config = replace(config, device=device.type, precision=precision, **chosen)
    loop_options(config, None)  # refuses what does not go together
    _check_meta_batch(config)
    sampling = _sampling(config)
    check_ways(sampling.shape["ways"], len(dataset.class_list("train")))
    check_classes(len(dataset.class_list("val")), config.val_ways)
    return Decided(config, method, section, dataset, sampling)


def loop_options(config: TrainConfig, time_limit: float | None) -> LoopOptions:
    """Those of the configuration that the loop knows."""
    names = (
        "steps", "validate_every", "optimizer", "learning_rate", "weight_decay", "schedule", "halve_every", "warmup_steps",
        "clip_norm", "clip_value", "precision", "patience", "seed",
    )  # fmt: skip
    return LoopOptions(**{name: getattr(config, name) for name in names}, time_limit=time_limit)


def _check_meta_batch(config: TrainConfig) -> None:
    processes = part_here().world
    if config.meta_batch is not None and config.meta_batch % processes:
        raise UsageError(f"--meta-batch {config.meta_batch}: as many episodes for each of {processes} processes")


def _sampling(config: TrainConfig) -> Sampling:
    """How training episodes are drawn."""
    numbers = {name: getattr(config, name) for name in ("ways", "shots", "queries", "steps", "meta_batch")}
    drawn = RunConfig(
        dataset=config.dataset, split="train", sampler=config.sampler, ways=numbers["ways"], shots=numbers["shots"],
        queries=numbers["queries"], episodes=numbers["steps"] * numbers["meta_batch"], seed=config.seed,
        settings=config.settings,
    )  # fmt: skip
    return sampling_of(drawn)
