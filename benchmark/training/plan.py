"""What all trainings have in common: a plan, with everything looked up and decided, and how it is carried out."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ...core.progress import SILENT, Progress
from ...tasks.datasets.base import Dataset, Split
from .. import registry
from ..backbones.base import Backbone, Preprocess
from ..backbones.weights.description import Description, MetaTrained
from ..records.provenance import code_version, package_version
from .command_line import command_line
from .loop.distributed import part_here
from .loop.learner import Learner
from .loop.loop import Fitted, fit
from .loop.outputs import check_output, folder_of, is_finished, publish
from .meta.train_config import TrainConfig
from .meta.validation import Validation
from .options import LoopOptions, check_options
from .pretrain_config import PretrainConfig


@dataclass(frozen=True)
class TrainingPlan(ABC):
    """A training with its names resolved and its network built.

    Attributes:
        config: every choice made, none left open.
        dataset: where images come from.
        train: split that is learnt.
        validation: episodes of the val classes, which say what state to keep.
        backbone: the recipe of the network.
        module: the network.
        learned: what a method learns beside it, or None.
        preprocess: makes images ready for the network.
        device: of this process.
    """

    verb: ClassVar[str]  # of `bench`
    config: PretrainConfig | TrainConfig
    dataset: Dataset
    train: Split
    validation: Validation
    backbone: Backbone
    module: nn.Module
    learned: nn.Module | None
    preprocess: Preprocess
    device: torch.device

    @property
    @abstractmethod
    def rule(self) -> object:
        """What says how the network learns: a recipe or a method, whose code matters to the result."""

    @property
    def files_sha256(self) -> dict[str, str]:
        """SHA-256 of each file that the training reads beside the dataset, by what it is: they count by their content."""
        return {}

    @abstractmethod
    def learner(self, folder: Path) -> Learner:
        """What the loop trains; `folder` holds the checkpoints, and whatever else a training that goes on must know."""

    @abstractmethod
    def options(self, time_limit: float | None) -> LoopOptions:
        """Of the loop."""

    @abstractmethod
    def kept(self, learner: Learner) -> nn.Module:
        """The part of a trained learner that goes into the weights file."""

    @abstractmethod
    def own_sections(self, fitted: Fitted) -> dict[str, dict[str, Any]]:
        """What this kind of training adds to the sections of the description, or sections of its own."""

    def identity(self) -> dict[str, Any]:
        """What the result depends on."""
        options = asdict(self.config)
        usual = {one.name: one.default for one in fields(self.config)}
        known = {name: value for name, value in options.items() if name not in self.config.later or value != usual[name]}
        return {
            "config": json.loads(json.dumps(known)),
            "fingerprint": self.train.fingerprint,
            "processes": part_here().world,
            **self.files_sha256,
        }

    def description(self, fitted: Fitted, code: dict[str, Any]) -> Description:
        """What stands in the weights file; `code` is that which began the training (`provenance.code_version`)."""
        processes = part_here().world
        sections: dict[str, dict[str, Any]] = {
            "pretraining": {
                "dataset": registry.find("datasets", self.config.dataset).name,
                "dataset_version": self.dataset.version,
                "dataset_parameters": asdict(self.dataset),
                "fingerprint": self.train.fingerprint,
                "split": "train",
                "classes": len(self.train.class_ids),
                "seconds": round(fitted.seconds, 1),
                "stopped": fitted.stopped,
            },
            "made_by": {
                "command": command_line(self.verb, asdict(self.config), processes),
                "config": self.identity()["config"],
                "processes": processes,
                "device": self.device.type,
                "git_commit": code["git_commit"],
                "fewbench": code["version"],
                "torch": package_version("torch"),
            },
            "val_accuracy": {**self.validation.shape, "mean": fitted.best_value, "step": fitted.best_step},
        }
        for name, content in self.own_sections(fitted).items():
            sections[name] = {**sections.get(name, {}), **content}
        method = sections.pop("method", None)
        return Description(
            backbone=registry.find("backbones", self.config.backbone).name,
            backbone_parameters=self.backbone.parameters,
            preprocess=self.preprocess,
            method=MetaTrained(**method) if method else None,
            **sections,
        )


def carry_out(
    make_plan: Callable[[Progress], TrainingPlan],
    output: Path,
    progress: Progress,
    time_limit: float | None,
    overwrite: bool,
    force: bool,
) -> Path:
    """Train, and write the best state (by val accuracy) with its description and the learning curves.

    Where the weights are there already, made in the same way, nothing is done; a training that was interrupted goes on.

    Args:
        make_plan: says what to train.
        output: the safetensors file.
        progress: told of every validation.
        time_limit: seconds after which this call stops; the same call goes on.
        overwrite: replace weights that are there.
        force: begin anew where a training of the same output was interrupted.

    Returns:
        The safetensors file.

    Raises:
        UserError: a name is unknown, the weights there are of another training, the time ran out, the loss is no longer
            finite, or a file cannot be written.
    """
    check_options({"time_limit": time_limit})
    check_output(output)
    first = part_here().rank == 0
    progress = progress if first else SILENT
    plan = make_plan(progress)
    if not overwrite and is_finished(output, plan.identity(), f"bench {plan.verb}"):
        progress.say(f"{output} is there already, nothing was trained; --overwrite repeats it")
        return output
    code, learner = code_version(), plan.learner(folder_of(output))

    def validate() -> float:
        return plan.validation.accuracy(learner.backbone, plan.preprocess, plan.device, plan.learned)

    options = plan.options(time_limit)
    fitted = fit(learner, validate, options, folder_of(output), plan.identity(), plan.device, progress, force)
    if first:
        publish(output, plan.kept(learner), plan.description(fitted, code))
    return output
