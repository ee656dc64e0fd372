"""Meta-training: a backbone, and what a method learns beside it, from episodes of the train classes.

Episodes of the val classes, always the same, say which state to keep. Test classes are never opened.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from ...methods.base import Method
from ...methods.maml import MAML
from ...tasks.datasets.base import Dataset, Split
from ...tasks.errors import UsageError, UserError
from ...tasks.files import write_atomically
from ...tasks.parameters import build
from ...tasks.progress import SILENT, Progress
from ...tasks.samplers import check_ways
from .. import registry
from ..backbones.base import Backbone, Preprocess, feature_width
from ..backbones.loading import find_weights, load_backbone, make_backbone
from ..config import RunConfig
from ..device import choose_device
from ..plan import make_method
from ..provenance import code_version, package_version
from ..records import file_safe
from ..sampling import Sampling, sampling_of
from .command_line import command_line
from .distributed import local_device, part_here
from .loop import Fitted, fit
from .meta_learner import EpisodeSource, MetaLearner
from .networks import network_for
from .options import LoopOptions
from .outputs import folder_of, is_finished, publish
from .paper_settings import settings_of
from .train_config import OF_THE_PAPER, TrainConfig
from .train_images import StoredImages
from .validation import Validation

PARALLEL = "parallel.txt"  # in the folder of the checkpoints: how a MAML takes its tasks


@dataclass(frozen=True)
class MetaTraining:
    """A meta-training with its names resolved and its networks built.

    Attributes:
        config: every choice made, none left to the paper, the network or the device.
        method: with its loss.
        method_section: as a record has it.
        dataset: where images come from.
        train: split that is learnt.
        val: split that validates.
        sampling: of the training episodes.
        backbone: the recipe of the network.
        module: the network.
        learned: what the method learns beside it, or None.
        preprocess: makes images ready for the network.
        start: what the network's weights have seen before; None where they are initial ones.
        device: of this process.
    """

    config: TrainConfig
    method: Method
    method_section: dict[str, Any]
    dataset: Dataset
    train: Split
    val: Split
    sampling: Sampling
    backbone: Backbone
    module: nn.Module
    learned: nn.Module | None
    preprocess: Preprocess
    start: dict[str, Any] | None
    device: torch.device

    def identity(self) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "config": json.loads(json.dumps(asdict(self.config))),
            "fingerprint": self.train.fingerprint,
            "processes": part_here().world,
        }

    def learner(self) -> MetaLearner:
        """What the loop trains."""
        config, sampler = self.config, self.sampling.over(self.dataset, self.train)
        assert config.meta_batch is not None
        images = StoredImages(self.train, self.device)
        source = EpisodeSource(sampler, images, self.preprocess, config.meta_batch, config.crop, config.flip, config.seed)
        inputs = self.method.inputs_with("none")
        return MetaLearner(self.method, inputs, self.module, self.learned, source).to(self.device)


def meta_train(
    config: TrainConfig,
    output: Path,
    progress: Progress,
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Path:
    """Meta-train a method and write its best state (by val accuracy) with its description and the learning curves.

    Where the checkpoint is there already, made in the same way, nothing is done; a training that was interrupted goes on.

    Args:
        config: what to train.
        output: the safetensors file.
        progress: told of every validation.
        time_limit: seconds after which this call stops; the same call goes on.
        overwrite: replace a checkpoint that is there.
        force: begin anew where a training of the same output was interrupted.

    Returns:
        The safetensors file.

    Raises:
        UserError: a name is unknown, the checkpoint there is of another training, the time ran out, the loss is no longer
            finite, or a file cannot be written.
    """
    first = part_here().rank == 0
    progress = progress if first else SILENT
    plan = plan_of(config, progress)
    if not overwrite and is_finished(output, plan.identity(), "bench train"):
        progress.say(f"{output} is there already, nothing was trained; --overwrite repeats it")
        return output
    code, learner = code_version(), plan.learner()
    validation = Validation.of(
        plan.method, plan.val, plan.config.val_ways, _shots(plan), plan.config.val_queries, plan.config.val_episodes
    )

    def validate() -> float:
        return validation.accuracy(learner.backbone, plan.preprocess, plan.device, learner.learned)

    options = _options(plan.config, time_limit)
    learner.method = _settled(plan.method, learner, folder_of(output))
    fitted = fit(learner, validate, options, folder_of(output), plan.identity(), plan.device, progress, force)
    if fitted.stopped == "time limit":
        raise UserError(f"stopped by --time-limit after {fitted.steps_done} of {options.steps} steps; the same command goes on")
    if first:
        publish(output, learner, _about(plan, fitted, code))
    return output


def _settled(method: Method, learner: MetaLearner, folder: Path) -> Method:
    """The method, told whether to take tasks at once or one by one where it would find out by timing (`parallel=auto`).

    What was chosen is kept with the checkpoints: a training that goes on must round as it did before.
    """
    if not isinstance(method, MAML) or method.parallel != "auto":
        return method
    kept = folder / PARALLEL
    if part_here().world > 1:
        return replace(method, parallel="loop")  # processes that chose for themselves might choose differently
    if not kept.is_file():
        episodes = replace(learner.batch(0, part_here()), backbone=learner.backbone.train(), learned=learner.learned)
        write_atomically(kept, method.faster(episodes).encode())
    return replace(method, parallel="vmap" if kept.read_text(encoding="utf-8") == "vmap" else "loop")


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


def plan_of(config: TrainConfig, progress: Progress) -> MetaTraining:
    """Look every name up, build the networks, and decide what was left open.

    Raises:
        UsageError: an unknown name or parameter, a method without a loss, or a split too small for the episodes.
    """
    device = local_device(choose_device(config.device))
    method, section = make_method(config.method, config.settings_of("method"))
    if not method.meta_trained:
        known = [name for name in registry.BUILT_IN["methods"] if registry.load(registry.find("methods", name)).meta_trained]
        raise UsageError(f"method {config.method} is not meta-trained; {', '.join(known)} are")
    dataset_name = registry.find("datasets", config.dataset).name
    dataset: Dataset = build(
        registry.load(registry.find("datasets", config.dataset)), config.settings_of("dataset"), f"dataset {config.dataset}"
    )
    paper = settings_of(section["name"], dataset_name)
    chosen = {name: paper[name] if getattr(config, name) is None else getattr(config, name) for name in OF_THE_PAPER}
    if chosen["schedule"] != "step" and config.halve_every is None:
        chosen["halve_every"] = None
    config = replace(config, **chosen)
    _check_meta_batch(config)
    sampling = _sampling(config)
    check_ways(sampling.shape["ways"], len(dataset.class_list("train")))
    check_ways(config.val_ways, len(dataset.class_list("val")))
    train, val = dataset.split("train", progress), dataset.split("val", progress)
    generator = Generator().manual_seed(config.seed)
    backbone, module, preprocess, start = _network(config, train, generator, progress)
    width = feature_width(module.eval(), preprocess)
    learned = method.learned_part(module, width, sampling.shape["ways"] or 0, generator)
    settings = {
        **{f"dataset.{name}": value for name, value in asdict(dataset).items()},
        **{f"backbone.{name}": value for name, value in backbone.parameters.items()},
        **{f"sampler.{name}": value for name, value in sampling.parameters.items()},
        **section["parameters"],
    }
    precision = config.precision or ("bf16" if device.type == "cuda" else "fp32")
    config = replace(config, device=device.type, size=preprocess.size, precision=precision, settings=settings)
    module = module.requires_grad_(True).to(device)
    return MetaTraining(
        config, method, section, dataset, train, val, sampling, backbone, module, learned, preprocess, start, device
    )


def _check_meta_batch(config: TrainConfig) -> None:
    processes = part_here().world
    if config.meta_batch is not None and config.meta_batch % processes:
        raise UsageError(f"--meta-batch {config.meta_batch}: as many episodes for each of {processes} processes")


def _sampling(config: TrainConfig) -> Sampling:
    """How training episodes are drawn."""
    numbers = {name: getattr(config, name) for name in ("ways", "shots", "queries", "steps", "meta_batch")}
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: at least 1")
    drawn = RunConfig(
        dataset=config.dataset, split="train", sampler=config.sampler, ways=numbers["ways"], shots=numbers["shots"],
        queries=numbers["queries"], episodes=numbers["steps"] * numbers["meta_batch"], seed=config.seed,
        settings=config.settings,
    )  # fmt: skip
    return sampling_of(drawn)


def _network(
    config: TrainConfig, train: Split, generator: Generator, progress: Progress
) -> tuple[Backbone, nn.Module, Preprocess, dict[str, Any] | None]:
    """The backbone, its network and preprocessing, and what its weights have seen where they are not initial ones."""
    if config.weights is None:
        backbone = make_backbone(config.backbone, config.settings_of("backbone"))
        return backbone, *network_for(config.size, backbone, train, generator), None
    weights = find_weights(config.backbone, config.weights, config.dataset)
    loaded = load_backbone(config.backbone, config.settings_of("backbone"), weights, progress)
    if config.size not in (None, loaded.preprocess.size):
        raise UsageError(f"--size {config.size}: the weights {loaded.weights} take images of {loaded.preprocess.size} pixels")
    backbone = make_backbone(config.backbone, config.settings_of("backbone"))
    return backbone, loaded.module, loaded.preprocess, {"weights_sha256": loaded.weights_sha256, **loaded.pretraining}


def _shots(plan: MetaTraining) -> int:
    return plan.config.shots or 1


def _options(config: TrainConfig, time_limit: float | None) -> LoopOptions:
    names = (
        "steps", "validate_every", "optimizer", "learning_rate", "weight_decay", "schedule", "halve_every", "warmup_steps",
        "clip_norm", "clip_value", "precision", "patience", "seed",
    )  # fmt: skip
    return LoopOptions(**{name: getattr(config, name) for name in names}, time_limit=time_limit)


def _about(plan: MetaTraining, fitted: Fitted, code: dict[str, Any]) -> dict[str, Any]:
    """The description of the checkpoint."""
    config, processes = plan.config, part_here().world
    shape = plan.sampling.shape
    return {
        "backbone": registry.find("backbones", config.backbone).name,
        "backbone_parameters": plan.backbone.parameters,
        "preprocess": asdict(plan.preprocess),
        "method": {"name": plan.method_section["name"], "parameters": plan.method_section["parameters"], "ways": shape["ways"]},
        "pretraining": {
            "dataset": registry.find("datasets", config.dataset).name,
            "dataset_version": plan.dataset.version,
            "dataset_parameters": asdict(plan.dataset),
            "fingerprint": plan.train.fingerprint,
            "split": "train",
            "classes": len(plan.train.class_ids),
            "recipe": _recipe(plan),
            "episodes": fitted.steps_done * (config.meta_batch or 1),
            "steps": fitted.steps_done,
            "seconds": round(fitted.seconds, 1),
            "stopped": fitted.stopped,
            "started_from": plan.start,
            "external": bool(plan.start and plan.start["external"]),
        },
        "made_by": {
            "command": command_line("train", asdict(config), processes),
            "config": asdict(config),
            "processes": processes,
            "device": plan.device.type,
            "git_commit": code["git_commit"],
            "fewbench": code["version"],
            "torch": package_version("torch"),
        },
        "val_accuracy": {
            "ways": config.val_ways,
            "shots": _shots(plan),
            "queries": config.val_queries,
            "episodes": config.val_episodes,
            "mean": fitted.best_value,
            "step": fitted.best_step,
        },
    }


def _recipe(plan: MetaTraining) -> str:
    """How the weights came to be, in a few words: what they started from, then the episodes that they were trained on."""
    shape = plan.sampling.shape
    episodes = "varying" if shape["ways"] is None else f"{shape['ways']}-way {shape['shots']}-shot"
    before = f"{plan.start['recipe']} on {plan.start['dataset']}, then " if plan.start else ""
    return f"{before}{plan.method_section['name']} {episodes}"
