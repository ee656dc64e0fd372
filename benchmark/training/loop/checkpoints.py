"""Checkpoints: one safetensors file each, with everything that is no tensor as JSON in its header. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypedDict, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ....core.errors import UserError
from ....core.files import os_errors_named, write_atomically
from .curves import SavedCurves
from .optimisers import OptimizerValues

KEY = "fewbench_training"  # of the JSON in the header
FORMAT = 1  # raised when a training cannot go on from older checkpoints
ANEW = "--force begins anew"
Kind = TypeVar("Kind", bound="About")


class About(TypedDict):
    """What every checkpoint says beside its tensors."""

    identity: Mapping[str, object]  # of the training, as JSON has it
    step: int  # steps done before it
    packages: dict[str, str | None]  # versions that may change last bits


class AboutBest(About):
    """What the best checkpoint says."""

    value: float  # of its validation


class AboutLast(About):
    """What the last checkpoint says: all that a training needs to go on."""

    curves: SavedCurves
    seconds: float  # of training, by all calls
    optimizer: OptimizerValues
    scaler: dict[str, float]


@dataclass(frozen=True)
class Checkpoint(Generic[Kind]):
    """The content of a checkpoint file, of the last or of the best.

    Attributes:
        path: the file.
        tensors: by name, on the CPU.
        about: the JSON content.
    """

    path: Path
    tensors: dict[str, Tensor]
    about: Kind

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with "prefix.", without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], about: About, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a checkpoint whole, or leave the earlier one.

    Args:
        path: the file.
        tensors: by name.
        about: everything that is no tensor.
        metadata: more entries of the header, of which `read_checkpoint` knows nothing.

    Raises:
        UserError: it cannot be written, say because the disk is full.
    """
    # Copies: of tensors that share memory, as tied weights do, safetensors takes but one.
    whole = {name: value.detach().clone(memory_format=torch.contiguous_format).cpu() for name, value in sorted(tensors.items())}
    write_atomically(
        path, save(whole, metadata={**(metadata or {}), KEY: json.dumps({**about, "format": FORMAT}, sort_keys=True)})
    )


def read_checkpoint(path: Path, kind: type[Kind]) -> Checkpoint[Kind]:
    """Read a checkpoint.

    Args:
        path: the file.
        kind: what it should say, AboutLast or AboutBest.

    Raises:
        UserError: the file is damaged, or no checkpoint of this kind and version.
    """
    try:
        with os_errors_named("cannot read the checkpoint"), safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is not a whole checkpoint ({error}); {ANEW}") from error
    if about.get("format") != FORMAT or not kind.__required_keys__ <= about.keys():
        raise UserError(f"{path} is no training checkpoint of this version of fewbench; {ANEW}")
    return Checkpoint(path, tensors, about)


def check_identity(checkpoint: Checkpoint[Kind], identity: Mapping[str, object]) -> None:
    """Check that a checkpoint is of this training.

    Args:
        checkpoint: of the training before.
        identity: of the training now, as it comes back from JSON.

    Raises:
        UserError: they differ; the line lists where.
    """
    old, new = _flat(checkpoint.about["identity"]), _flat(identity)
    changes: dict[str, str] = {}  # by what is said, so that an option known under two names is told once
    for name in sorted(old.keys() | new.keys(), key=lambda name: (name.count("."), name)):
        if old.get(name, "none") != new.get(name, "none"):
            change = f"{name.rpartition('.')[2]}: {old.get(name, 'none')} → {new.get(name, 'none')}"
            changes.setdefault(change, name)
    if changes:
        told = "; ".join(change for change in changes)
        raise UserError(f"{checkpoint.path} is of another training ({told}); go on with the same options, or {ANEW}")


def _flat(content: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Leaves of nested sections as JSON, by dotted name."""
    leaves: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return leaves


def load_module(module: nn.Module, checkpoint: Checkpoint[Kind], prefix: str) -> None:
    """Fill a module from the tensors under a prefix.

    Raises:
        UserError: they are those of another network.
    """
    found, state = checkpoint.under(prefix), module.state_dict()
    for name in sorted(found.keys() | state.keys()):
        shapes = [list(tensors[name].shape) if name in tensors else None for tensors in (found, state)]
        if shapes[0] != shapes[1]:
            there, here = ("absent" if shape is None else f"of shape {shape}" for shape in shapes)
            raise UserError(f"{checkpoint.path} is of another network: {name} is {there} there and {here} here; {ANEW}")
    module.load_state_dict(found)
