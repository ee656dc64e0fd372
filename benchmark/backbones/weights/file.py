"""Reading weights files: safetensors, or a PyTorch file of which nothing but tensors is unpickled."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....core.errors import UserError
from ....core.files import os_errors_named, regular_file

SAFETENSORS, PYTORCH = "safetensors", "PyTorch"
NEITHER = "neither safetensors nor written by torch.save"
LONGEST = 100_000_000  # bytes of the JSON that safetensors begin with
NESTS = ("state_dict", "model", "params")  # where trainers put the weights in a checkpoint; params is FEAT's
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how the files of torch.save begin: those of today, and those of torch 1.5 and before
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # how torch names the class that it refused to unpickle


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, on the CPU; what else a checkpoint holds is left out.

    Args:
        path: a safetensors file, whatever its suffix, or one written by `torch.save`.

    Raises:
        UserError: the file is neither, is truncated, holds Python objects, or holds no tensors.
    """
    with os_errors_named(f"--weights {path.name}"):
        kind = _kind(path)
        if kind == SAFETENSORS:
            with _opened(path) as file:
                content: Any = {name: file.get_tensor(name) for name in file.keys()}
        elif kind == PYTORCH:
            content = _read_pytorch(path)
        else:
            raise UserError(f"--weights {path.name} is no weights file: {NEITHER}")
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    found = content.items() if isinstance(content, dict) else ()
    tensors = {name: value for name, value in found if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"--weights {path.name} holds no weights; save a state dict: torch.save(model.state_dict(), FILE)")
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """The entries of text in a safetensors file; empty for a file of another kind.

    Raises:
        UserError: the file cannot be read or is truncated.
    """
    with os_errors_named(f"--weights {path.name}"):
        if _kind(path) != SAFETENSORS:
            return {}
        with _opened(path) as file:
            return file.metadata() or {}


def _kind(path: Path) -> str:
    """Of which kind a file is, by its name or how it begins; "" for any other.

    Safetensors begin with 8 bytes of length, of which the last are zero, and the JSON of that length.
    """
    with regular_file(path).open("rb") as file:
        head = file.read(9)
    if path.suffix == ".safetensors" or (
        len(head) == 9 and 1 < int.from_bytes(head[:8], "little") <= LONGEST and head[8:] == b"{"
    ):
        return SAFETENSORS
    return PYTORCH if head.startswith((ZIP, PICKLE)) else ""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
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
            raise UserError(f"--weights {path.name} is no weights file: {NEITHER}") from error
        raise UserError(
            f"--weights {path.name} holds Python objects ({forbidden[1]}), which are never unpickled; "
            "save its state dict alone: torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged file: what torch's reader stumbles over is anything from EOFError to KeyError
        reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise UserError(f"--weights {path.name} is not a whole PyTorch file: {reason}") from error
