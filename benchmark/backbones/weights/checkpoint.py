"""Checkpoints of meta-training: a backbone with what a method learned beside it, in one weights file.

The file holds the backbone's tensors under `backbone.` and the method's own under `learned.`; its description (the JSON file of
the same name beside it) names the method and its parameters in a section `method`. With `--weights` the same file gives its
backbone alone, to any method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Generator, nn

from ....core.errors import UsageError, UserError
from ....methods.base import Method
from ...config import RunConfig
from .file import read_tensors
from .loading import LoadedBackbone, sidecar

LEARNED = "learned."


def method_of(checkpoint: Path) -> dict[str, Any]:
    """The section `method` of a checkpoint's description: name, parameters and the ways it was trained with.

    Raises:
        UsageError: there is no such file, or it is no checkpoint of a meta-training.
        UserError: its description cannot be read.
    """
    if not checkpoint.is_file():
        raise UsageError(f"--checkpoint {checkpoint}: no such file")
    section = sidecar(checkpoint).get("method")
    if not isinstance(section, Mapping) or not {"name", "parameters", "ways"} <= section.keys():
        raise UsageError(f"--checkpoint {checkpoint}: made by no bench train; take it with --weights {checkpoint}")
    return dict(section)


def with_checkpoint(config: RunConfig) -> RunConfig:
    """The config with what its checkpoint decides: backbone, weights, and the method's parameters where none are set.

    Raises:
        UsageError: the checkpoint is of another method or backbone, or weights are named as well.
    """
    if config.checkpoint is None:
        return config
    checkpoint = Path(config.checkpoint)
    section = method_of(checkpoint)
    if config.weights is not None:
        raise UsageError("--checkpoint and --weights: take one of them")
    if Path(config.method).name != section["name"]:  # a plug-in's file is described without its folder
        raise UsageError(
            f"--checkpoint {checkpoint} is of method {section['name']}, not {config.method}; "
            f"--weights {checkpoint} takes its backbone alone"
        )
    settings = {**section["parameters"], **config.settings}
    backbone = sidecar(checkpoint)["backbone"]
    if config.backbone is not None and Path(config.backbone).name != Path(backbone).name:
        raise UsageError(f"--checkpoint {checkpoint} is of backbone {backbone}, not {config.backbone}")
    return replace(config, backbone=config.backbone or backbone, weights=config.checkpoint, settings=settings)


def learned_part(
    method: Method, name: str, backbone: LoadedBackbone, ways: int | None, checkpoint: Path | None
) -> nn.Module | None:
    """What a method learns beside the backbone: from the checkpoint, or with initial values, or None where there is nothing.

    Args:
        method: whose part it is.
        name: of the method.
        backbone: that it goes with.
        ways: classes of an episode where there is no checkpoint; None where they vary.
        checkpoint: the file.

    Raises:
        UsageError: the method is nothing without training, and there is no checkpoint.
        UserError: the checkpoint's tensors are not those of this method.
    """
    if checkpoint is not None:
        ways = method_of(checkpoint)["ways"]  # None where they varied in training
    elif method.needs_training:
        raise UsageError(f"method {name} has to be trained: bench train --method {name} makes a file for --checkpoint")
    part = method.learned_part(backbone.module, backbone.feature_dim, ways or 0, Generator().manual_seed(0))
    if part is None:
        return None
    if checkpoint is not None:
        tensors = read_tensors(checkpoint)
        own = {key.removeprefix(LEARNED): value for key, value in tensors.items() if key.startswith(LEARNED)}
        try:
            part.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"--checkpoint {checkpoint} does not fit method {name}: {reason}") from error
    return part.eval().requires_grad_(False)
