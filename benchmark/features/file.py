"""A table of features in the making: rows are appended as they come, and an encoding that was killed goes on from there."""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch

from ...core.files import write_atomically
from ...core.progress import Progress
from ...core.resumable import Unfinished
from ...tasks.datasets.base import Images
from ..backbones.weights.loading import LoadedBackbone
from .encode import Encoding, encode

FEATURES, REACHED = "features.npy", "reached.json"
SAFE_SECONDS = 2.0  # at most so much encoding is done again after a kill
PIECE = 2**24  # bytes read at a time


@dataclass(frozen=True)
class Reached:
    """How far an encoding came.

    Attributes:
        done: rows that are written.
        batch_size: of the last batch; the next begins at `done` with the same size, so that batches are those of an
            encoding that nothing interrupted.
        seconds: what these rows took.
        checksum: CRC-32 of the file up to there.
    """

    done: int = 0
    batch_size: int = 0
    seconds: float = 0.0
    checksum: int = 0


def write_features(
    unfinished: Unfinished,
    backbone: LoadedBackbone,
    images: Images,
    device: torch.device,
    encoding: Encoding,
    progress: Progress,
    description: str,
) -> Reached:
    """Encode all images into `features.npy` of an unfinished folder, or those that are missing there.

    Args:
        unfinished: the folder; its plan says which backbone, images, device and encoding these are.
        backbone: moved to `device` and left there.
        images: uint8 [n, H, W, C].
        device: where the network runs.
        encoding: precision, batch size, whether to compile.
        progress: told of each batch, and of what an earlier attempt left.
        description: the bar's.

    Returns:
        All rows, with the seconds that they took, those of earlier attempts included, and the checksum of the file.

    Raises:
        UserError: as `encode` does.
        OSError: the disk is full.
    """
    header = _header((len(images), backbone.feature_dim), encoding.dtype)
    row_bytes = backbone.feature_dim * encoding.dtype.itemsize
    reached = _earlier(unfinished.folder, header, row_bytes, len(images))
    if reached.done:
        progress.say(f"going on after {reached.done} of {len(images)} images, where an earlier encoding was interrupted")
    else:
        reached = Reached(checksum=zlib.crc32(header))
    began = safe = time.monotonic()
    earlier_seconds = reached.seconds
    path = unfinished.folder / FEATURES
    with path.open("r+b" if reached.done else "wb") as file, progress.track(description, len(images), "images") as advance:
        file.write(header)
        file.seek(len(header) + reached.done * row_bytes)
        file.truncate()
        advance(reached.done)
        try:
            batches = encode(backbone, images, device, encoding, reached.done, reached.batch_size or None)
            with closing(batches):
                for features, batch_size in batches:
                    content = features.tobytes()
                    file.write(content)
                    now = time.monotonic()
                    checksum = zlib.crc32(content, reached.checksum)
                    reached = Reached(reached.done + len(features), batch_size, earlier_seconds + now - began, checksum)
                    advance(len(features))
                    if now - safe > SAFE_SECONDS:
                        _save(unfinished, file, reached)
                        safe = now
        except KeyboardInterrupt:
            if reached.done:
                _save(unfinished, file, reached)
                progress.say(f"interrupted after {reached.done} of {len(images)} images; the same command goes on from there")
            raise
        _sync(file)
    (unfinished.folder / REACHED).unlink(missing_ok=True)
    return reached


def _header(shape: tuple[int, int], dtype: np.dtype) -> bytes:
    """How an npy file of this shape begins."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _save(unfinished: Unfinished, file: IO[bytes], reached: Reached) -> None:
    _sync(file)
    write_atomically(unfinished.folder / REACHED, json.dumps(asdict(reached)).encode())
    unfinished.reached(reached.done)


def _earlier(folder: Path, header: bytes, row_bytes: int, rows: int) -> Reached:
    """How far an earlier attempt came; nowhere, if anything it left is not as it was written."""
    try:
        reached = Reached(**json.loads((folder / REACHED).read_text(encoding="utf-8")))
        whole = all(type(number) is int and number > 0 for number in (reached.done, reached.batch_size))
        if not (whole and isinstance(reached.seconds, float) and reached.done <= rows):
            return Reached()
        with (folder / FEATURES).open("rb") as file:
            known = file.read(len(header)) == header
        checksum = checksum_of(folder / FEATURES, len(header) + reached.done * row_bytes)
        return reached if known and checksum == reached.checksum else Reached()
    except (OSError, ValueError, TypeError):
        return Reached()


def checksum_of(path: Path, size: int) -> int:
    """CRC-32 of the first `size` bytes of a file.

    Raises:
        ValueError: there are fewer.
        OSError: it cannot be read.
    """
    checksum = 0
    with path.open("rb") as file:
        for piece in _pieces(file, size):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file, a piece at a time.

    Raises:
        ValueError: there are fewer.
    """
    for left in range(size, 0, -PIECE):
        piece = file.read(min(left, PIECE))
        if len(piece) < min(left, PIECE):
            raise ValueError("the file is too short")
        yield piece
