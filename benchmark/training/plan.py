"""Plans: a pretraining or a meta-training with everything looked up and decided; and how a plan is carried out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import nn

from ...core.decoding import encode
from ...core.progress import SILENT, Progress
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from .. import registry
from ..backbones.base import Backbone, Preprocess
from ..backbones.weights.description import Description, MadeBy, MetaTrained, ValAccuracy
from ..records.answerer import Pretraining
from ..records.identity import config_digest
from ..records.provenance import code_version, package_version
from ..records.sections import Code
from .command_line import command_line
from .loop.distributed import part_here
from .loop.learner import Learner
from .loop.loop import Fitted, fit
from .loop.outputs import Identity, check_output, folder_of, is_finished, publish
from .meta.train_config import TrainConfig
from .meta.validation import Validation
from .options import Effort, LoopOptions
from .pretrain_config import PretrainConfig


@dataclass(frozen=True)
class TrainingPlan:
    """A training with its names resolved and its network built; nothing has been trained yet.

    Attributes:
        verb: pretrain or train, of `bench`.
        config: every choice made, none left open.
        dataset: where images come from.
        train: split that is learnt.
        validation: episodes of the val classes, which say what state to keep.
        backbone: the recipe of the network.
        module: the network.
        preprocess: makes images ready for the network.
        device: of this process.
        rule: how the network learns: a pretraining recipe or a method, whose version matters to the result.
        loop: options of the loop, without a time limit.
        learner: makes what the loop trains; is given the folder of the checkpoints, for whatever else a training that goes on
            has to know.
        history: what the weights have then seen, as far as it is particular to the kind of training.
        val_accuracy: the validation, as far as it is.
        learned: what a method learns beside the network, or None.
        method: of a meta-training.
        files_sha256: SHA-256 of each file that is read beside the dataset, by what it is: files count by their content.
    """

    verb: str
    config: PretrainConfig | TrainConfig
    dataset: Dataset
    train: Split
    validation: Validation
    backbone: Backbone
    module: nn.Module
    preprocess: Preprocess
    device: torch.device
    rule: object
    loop: LoopOptions
    learner: Callable[[Path], Learner]
    history: Callable[[Fitted], Pretraining]
    val_accuracy: Callable[[Fitted], ValAccuracy] = lambda fitted: ValAccuracy()
    learned: nn.Module | None = None
    method: MetaTrained | None = None
    files_sha256: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> Identity:
        """Everything that the result depends on."""
        options = asdict(self.config)
        usual = {one.name: one.default for one in fields(self.config)}
        known = {name: value for name, value in options.items() if name not in self.config.later or value != usual[name]}
        config, validated = json.loads(json.dumps(known)), self.validation.split.fingerprint
        return Identity(config, self.train.fingerprint, validated, part_here().world, **self.files_sha256)

    def _options_sha256(self) -> str:
        """Hash of everything that the result depends on but the seed; the device changes last bits alone."""
        identity = asdict(self.identity())
        del identity["val_fingerprint"]  # older weights have none, and are to stand beside new ones of another seed
        options = {name: value for name, value in identity["config"].items() if name not in ("seed", "device")}
        return config_digest({"verb": self.verb, **identity, "config": options})

    def description(self, fitted: Fitted, code: Code) -> Description:
        """The description in the weights file; `code` is the version that began the training (`provenance.code_version`)."""
        processes = part_here().world
        return Description(
            backbone=registry.find("backbones", self.config.backbone).name,
            backbone_parameters=self.backbone.parameters,
            preprocess=self.preprocess,
            pretraining=replace(
                self.history(fitted),
                dataset_version=self.dataset.version,
                dataset_parameters=self.dataset.recorded_parameters(),
                fingerprint=self.train.fingerprint,
                split="train",
                classes=len(self.train.class_ids),
                seconds=round(fitted.seconds, 1),
                stopped=fitted.stopped,
                seed=self.config.seed,
                options_sha256=self._options_sha256(),
            ),
            method=self.method,
            made_by=MadeBy(
                command=command_line(self.verb, asdict(self.config), processes),
                config=self.identity().config,
                processes=processes,
                device=self.device.type,
                git_commit=code.git_commit,
                fewbench=code.version,
                torch=package_version("torch"),
            ),
            val_accuracy=replace(
                self.val_accuracy(fitted),
                mean=fitted.best_value,
                step=fitted.best_step,
                fingerprint=self.validation.split.fingerprint,
                **self.validation.shape,
            ),
        )


def carry_out(make_plan: Callable[[Progress], TrainingPlan], output: Path, progress: Progress, effort: Effort) -> Path:
    """Train, and write the best state (by val accuracy) with its description and the learning curves.

    Where the weights are there already, made in the same way, nothing is done; a training that was interrupted goes on.

    Args:
        make_plan: says what to train.
        output: the safetensors file.
        progress: told of every validation.
        effort: how long it may take, and what it replaces.

    Returns:
        The safetensors file.

    Raises:
        UserError: a name is unknown, the weights there are of another training, the time ran out, the loss is no longer
            finite, or a file cannot be written.
    """
    check_output(output)
    first, folder = part_here().rank == 0, folder_of(output)
    progress = progress if first else SILENT
    plan = make_plan(progress)
    if not effort.overwrite and is_finished(output, plan.identity(), f"bench {plan.verb}"):
        progress.say(f"{output} is there already, nothing was trained; --overwrite repeats it")
        return output
    code, learner = code_version(), plan.learner(folder)

    def validate() -> float:
        return plan.validation.accuracy(learner.backbone, plan.preprocess, plan.device, plan.learned)

    options = replace(plan.loop, time_limit=effort.time_limit)
    fitted = fit(
        learner, validate, options, folder, encode(plan.identity()), plan.device, progress, effort.force,
        lambda so_far: plan.description(so_far, code).to_json(),
    )  # fmt: skip
    if first:
        publish(output, learner.kept(), plan.description(fitted, code))
    return output
