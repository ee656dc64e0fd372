"""Content addresses: the name of a trained stage's file is a hash of everything that its weights depend on.

A stage whose file is there does not run again, whatever other stages the pipeline has. Another option, other initial weights,
other data or another version of the code give another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.code_versions import code_of
from ...core.decoding import encode
from ...core.errors import UserError
from ...core.options import Settings
from .. import registry, training
from ..backbones.weights.checkpoint import read_description
from ..records.answerer import NetworkInput
from ..records.identity import config_digest, file_safe
from ..training.plan import TrainingPlan

DIGITS = 12
NAMES = {"backbone": "backbones", "dataset": "datasets", "method": "methods"}  # by option: the kind in the registry
# A device makes no other stage of it: what a GPU trained is taken on a machine without one. The weights count by their content.
NOT_CONTENT = ("device", "weights")


def file_of(plan: TrainingPlan, precision: str | None, results: Path) -> Path:
    """The path of the weights of a stage.

    Args:
        plan: of the stage.
        precision: as it was asked for; None leaves it to the device, which is then no part of the address.
        results: folder of `checkpoints`.
    """
    known = content(plan, precision)
    config, digest = known.config, config_digest(encode(known))[:DIGITS]
    parts = (plan.verb, config.get("method", config.get("recipe")), config["backbone"], config["dataset"], digest)
    return results / "checkpoints" / f"{'-'.join(file_safe(part) for part in parts)}.safetensors"


@dataclass(frozen=True)
class Content:
    """Everything that the weights of a stage depend on."""

    config: Settings
    files_sha256: Mapping[str, str]
    dataset_version: str
    preprocess: NetworkInput
    fingerprints: Mapping[str, str]
    code: Mapping[str, object]


def content(plan: TrainingPlan, precision: str | None) -> Content:
    """Everything that the weights of a stage depend on."""
    identity = plan.identity()
    config = {name: value for name, value in identity.config.items() if name not in NOT_CONTENT}
    for name, kind in NAMES.items():  # a plug-in's file is known by its name, wherever it lies; its code counts below
        if name in config:
            config[name] = registry.find(kind, config[name]).name
    return Content(
        config={**config, "precision": precision},
        files_sha256=plan.files_sha256,
        dataset_version=plan.dataset.version,
        preprocess=plan.preprocess,
        fingerprints={"train": plan.train.fingerprint, "val": plan.validation.split.fingerprint},
        code={
            "backbone": [code_of(type(plan.backbone)), plan.backbone.code_version()],
            "rule": code_of(type(plan.rule)),
            "training": training.VERSION,
        },
    )


def is_there(file: Path) -> bool:
    """Whether weights are there, whole and with their description."""
    try:
        return file.is_file() and read_description(file) is not None
    except UserError:
        return False
