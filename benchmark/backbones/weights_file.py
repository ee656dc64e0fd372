"""Reading weights files: safetensors, or a PyTorch file of which nothing but tensors is unpickled."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...tasks.errors import UserError
from ...tasks.files import os_errors_named

NESTS = ("state_dict", "model", "params")  # where trainers put the weights in a checkpoint; params is FEAT's
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # how torch names the class that it refused to unpickle


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, on the CPU; what else a checkpoint holds is left out.

    Args:
        path: a safetensors file if its suffix says so, else one written by `torch.save`.

    Raises:
        UserError: the file is neither, is truncated, holds Python objects, or holds no tensors.
    """
    with os_errors_named(f"--weights {path.name}"):
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    found = content.items() if isinstance(content, dict) else ()
    tensors = {name: value for name, value in found if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"--weights {path.name} holds no weights; save a state dict: torch.save(model.state_dict(), FILE)")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"--weights {path.name} is not a whole safetensors file: {error}") from error


def _read_pytorch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a damaged file torch warns before it fails
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        forbidden = FORBIDDEN.search(str(error))
        if forbidden is None:
            raise UserError(
                f"--weights {path.name} is no weights file: neither safetensors nor written by torch.save"
            ) from error
        raise UserError(
            f"--weights {path.name} holds Python objects ({forbidden[1]}), which are never unpickled; "
            "save its state dict alone: torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged file: what torch's reader stumbles over is anything from EOFError to KeyError
        reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise UserError(f"--weights {path.name} is not a whole PyTorch file: {reason}") from error
