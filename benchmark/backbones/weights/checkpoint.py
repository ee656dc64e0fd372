"""Weights files, read once and written whole: the tensors of a network, and what is known about them.

A file of `bench train` holds the backbone's tensors under `backbone.` and what the method learned beside it under `learned.`.

Weights are known by the SHA-256 of the file without its description, so that the same training gives the same hash whenever and
wherever it runs. Of a file without one, as of all older files, that is the SHA-256 of its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import UserError
from ....core.files import regular_file, sha256_of, write_atomically
from .description import Description, beside, read_json
from .file import read_metadata, read_networks, usual, with_key

if TYPE_CHECKING:
    from torch import Tensor

KEY = "fewbench"  # of the description in the file's metadata
METADATA = "__metadata__"  # where safetensors keep it in their header
LEARNED, UNFINISHED = "learned.", "learner."  # the latter before it in a training that is not finished


@dataclass(frozen=True)
class Checkpoint:
    """A weights file.

    Attributes:
        path: the file; FILE#KEY where one of its entries is meant.
        networks: tensors by name, on the CPU, by the entry of the file that holds them ("" for the file itself).
        sha256: of the file without its description, and of the key.
        description: what is known about the weights; None: nothing.
    """

    path: Path
    networks: dict[str, dict[str, Tensor]]
    sha256: str
    description: Description | None

    @property
    def name(self) -> str:
        """Of the file without its suffix."""
        file, key = with_key(self.path)
        return file.stem if key is None else f"{file.stem}#{key}"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the network that is meant where none is named; of a file with a description there is but one."""
        return self.networks[usual(self.networks) or next(iter(self.networks))]

    @property
    def learned(self) -> dict[str, Tensor]:
        """The tensors of what a method learned beside the backbone."""
        parts = [name.partition(LEARNED) for name in self.tensors]
        return {end: self.tensors[start + LEARNED + end] for start, sign, end in parts if sign and start in ("", UNFINISHED)}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weights file with its description.

    Raises:
        UserError: the file is no whole weights file, or its description is damaged or of another file.
    """
    networks, description, sha256 = read_networks(path), read_description(path), weights_sha256(path)
    file, key = with_key(path)
    if key is not None and usual(read_networks(file)) != key:  # another network than the file's name alone would give
        sha256 = hashlib.sha256(f"{sha256} {key}".encode()).hexdigest()
    return Checkpoint(path, networks, sha256, description)


def read_description(path: Path) -> Description | None:
    """The description of a weights file; None: there is none.

    Weights may be absent, where they are too large to be kept with their results: their description may lie alone.

    Raises:
        UserError: the file is no whole weights file, or its description is damaged or of another file.
    """
    path, _ = with_key(path)
    file = beside(path)
    inside = read_metadata(path).get(KEY) if path.is_file() or not file.is_file() else None
    if inside is None and not file.is_file():
        return None
    where = f"--weights {path}: its description" + ("" if inside else f" {file.name}")
    try:
        text = inside or regular_file(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{where} cannot be read ({error})") from error
    description = read_json(text, where)
    if path.is_file() and description.weights_sha256 not in (None, weights_sha256(path)):
        raise UserError(f"{where} is of other weights; " + ("the file is damaged" if inside else "the file was replaced"))
    if inside and file.exists():
        _check_beside(path, file, description)
    return description


def _check_beside(path: Path, file: Path, description: Description) -> None:
    """Check that a description beside a file that has its own says the same; it would have no effect.

    Raises:
        UserError: it does not, or is none.
    """
    where = f"--weights {path}: its description is inside it, and {file.name} beside it"
    try:
        other = read_json(regular_file(file).read_text(encoding="utf-8"), where)
    except (OSError, ValueError) as error:
        raise UserError(f"{where} cannot be read ({error})") from error
    if replace(other, weights_sha256=None) != replace(description, weights_sha256=None):
        raise UserError(f"{where} says something else; remove {file.name}")


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], description: Description) -> None:
    """Write weights with their description, as one file that is whole or not there.

    Raises:
        UserError: it cannot be written.
    """
    import torch
    from safetensors.torch import save

    # Copies: of tensors that share memory, as tied weights do, safetensors takes but one.
    whole = {name: value.detach().clone(memory_format=torch.contiguous_format).cpu() for name, value in tensors.items()}
    sha256 = hashlib.sha256(save(whole)).hexdigest()
    write_atomically(path, save(whole, metadata={KEY: replace(description, weights_sha256=sha256).to_json()}))
    if _is_description(beside(path)):  # of an older file that was replaced
        beside(path).unlink()


def _is_description(file: Path) -> bool:
    try:
        return bool(read_json(file.read_text(encoding="utf-8"), ""))
    except (OSError, ValueError, UserError):
        return False


def weights_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a weights file without its description."""
    path, _ = with_key(path)
    if KEY not in read_metadata(path):
        return sha256_of(path)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        del header[METADATA]
        plain = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()  # to the byte as safetensors write it
        plain += b" " * (-len(plain) % 8)
        sha = hashlib.sha256(len(plain).to_bytes(8, "little") + plain)
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
