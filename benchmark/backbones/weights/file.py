"""Reading weights files: safetensors, or a PyTorch file of which nothing but tensors is unpickled."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.errors import UserError, listed
from ....core.files import os_errors_named, regular_file

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS, PYTORCH = "safetensors", "PyTorch"
NEITHER = "neither safetensors nor written by torch.save"
LFS, OF_LFS = b"version https://git-lfs", "a pointer of Git LFS; git lfs pull gets the file"
LONGEST = 100_000_000  # bytes of the JSON that safetensors begin with
NESTS = ("state_dict", "model", "params")  # entries where trainers usually put the network; params is FEAT's
DEEPEST = 4  # entries inside entries
SHOWN = 5  # names in a message
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how the files of torch.save begin: those of today, and those of torch 1.5 and before
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # how torch names the class that it refused to unpickle


def with_key(path: Path) -> tuple[Path, str | None]:
    """Split `--weights FILE#KEY` into the file and the entry that holds the network (None without a key)."""
    name, sign, key = str(path).rpartition("#")
    return (Path(name), key) if sign and not path.exists() else (path, None)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a network's file by name, on the CPU; what else a checkpoint holds is left out.

    Args:
        path: a safetensors file, whatever its suffix, or one written by `torch.save`; FILE#KEY takes one entry.

    Raises:
        UserError: as of `read_networks`; or it holds several networks, and none is named.
    """
    networks = read_networks(path)
    chosen = usual(networks)
    if chosen is None:
        raise UserError(f"--weights {path.name} holds several networks; take {choice(path, networks)}")
    return networks[chosen]


def read_networks(path: Path) -> dict[str, dict[str, Tensor]]:
    """The networks in a file: tensors by name, on the CPU, by the entry of the file that holds them ("" for the file itself).

    An entry is a dictionary of tensors, at whatever depth ("state", "ema.model"). With FILE#KEY, it is the one of that name, or
    the tensors whose names begin with it.

    Raises:
        UserError: the file is no weights file, is truncated, holds Python objects, holds no tensors, or none under the key.
    """
    path, key = with_key(path)
    content = _content(path)
    if isinstance(content, list | tuple):  # such as (model.state_dict(), optimizer.state_dict())
        content = {str(number): entry for number, entry in enumerate(content)}
    found = dict(_networks(content, "", DEEPEST))
    if key is not None:
        flat = {name.removeprefix(f"{key}."): value for name, value in found.get("", {}).items() if name.startswith(f"{key}.")}
        chosen = found.get(key) or flat
        if not chosen:
            there = listed([*(name for name in found if name), *(found.get("", {}))] or _keys(content), SHOWN)
            raise UserError(f"--weights {path.name}#{key}: the file has no network of that name; it has {there}")
        found = {key: chosen}
    if not found:
        there = f" (it has {listed(keys, SHOWN)})" if (keys := _keys(content)) else ""
        raise UserError(
            f"--weights {path.name} holds no weights{there}; save a state dict: torch.save(model.state_dict(), FILE)"
        )
    for tensors in found.values():
        _check_numbers(path, tensors)
    return found


def usual(networks: Iterable[str]) -> str | None:
    """The entry that is meant where none is named: the usual ones first, then the file itself, then the only one there is."""
    networks = list(networks)
    known = [name for name in networks if name and all(part in NESTS for part in name.split("."))]
    if known:
        return min(known, key=lambda name: NESTS.index(name.split(".")[0]))
    return "" if "" in networks else networks[0] if len(networks) == 1 else None


def choice(path: Path, networks: Iterable[str]) -> str:
    """The options that take one of several networks each, for a message."""
    file, names = with_key(path)[0].name, [name for name in networks if name]
    return " or ".join(f"--weights {file}#{name}" for name in names[:SHOWN])


def _networks(content: Any, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The dictionaries of tensors in a dictionary, by their dotted names; those of optimisers have numbers for keys."""
    if not isinstance(content, dict) or not depth:
        return
    from torch import Tensor

    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield name, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _networks(value, f"{name}.{key}".removeprefix("."), depth - 1)


def _keys(content: Any) -> list[str]:
    return [repr(key)[:40].strip("'") for key in content] if isinstance(content, dict) else []


def _check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors are plain numbers in memory.

    Raises:
        UserError: one is sparse, quantised, of another exotic type, or has no numbers at all.
    """
    import torch

    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_meta:
            kind = "without numbers (on the device meta)"
        elif tensor.layout != torch.strided:
            kind = str(tensor.layout).removeprefix("torch.").replace("_", " ")
        elif kind in DTYPES:
            continue
        raise UserError(f"--weights {path.name}: {name} is {kind}; save dense tensors of float32, float16 or bfloat16")


def _content(path: Path) -> Any:
    with os_errors_named(f"--weights {path.name}"):
        kind = _kind(path)
        if kind == SAFETENSORS:
            with _opened(path) as file:
                return {name: file.get_tensor(name) for name in file.keys()}
        if kind == PYTORCH:
            return _read_pytorch(path)
        with regular_file(path).open("rb") as file:
            pointer = file.read(len(LFS)) == LFS
        raise UserError(f"--weights {path.name} is no weights file: {OF_LFS if pointer else NEITHER}")


def read_metadata(path: Path) -> dict[str, str]:
    """The entries of text in a safetensors file; empty for a file of another kind.

    Raises:
        UserError: the file cannot be read or is truncated.
    """
    path, _ = with_key(path)
    with os_errors_named(f"--weights {path.name}"):
        if _kind(path) != SAFETENSORS:
            return {}
        with _opened(path, "np") as file:
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
def _opened(path: Path, framework: str = "pt") -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            yield file
    # The others are of types that this torch lacks.
    except (SafetensorError, AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"--weights {path.name} is not a whole safetensors file: {error}") from error


def _read_pytorch(path: Path) -> Any:
    import torch

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
