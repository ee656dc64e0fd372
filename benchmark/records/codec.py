"""Per-episode accuracies as JSON: compact, and the same float64 bit for bit when read back.

An accuracy is a fraction of few queries, so 10,000 of them share less than a hundred values: the distinct values are listed
and each episode is a one-byte (or wider) number into that list, zlib-compressed and written as base64 text.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

ENCODING = "values+codes:zlib:base64"
ROUGH = "float32:zlib:base64"
PACKED = ("codes", "data")  # what is base64 text, of `Coded` and of `Rough`
PIECE = 2**20  # values that are encoded at a time: what sorting them takes is many times their own size
Dtype = Literal["uint8", "uint16", "uint32"]
DTYPES: dict[Dtype, str] = {"uint8": "<u1", "uint16": "<u2", "uint32": "<u4"}  # little-endian on every machine


@dataclass(frozen=True)
class Coded:
    """Float64 values as `encode` writes them.

    Attributes:
        encoding: the name of this encoding.
        values: the distinct values.
        codes: for each value its place in `values`, as base64 text.
        dtype: type of the codes.
        n: number of values.
    """

    encoding: Literal["values+codes:zlib:base64"]
    values: tuple[float, ...]
    codes: str
    dtype: Dtype
    n: int


@dataclass(frozen=True)
class Rough:
    """Float32 values as `encode_rough` writes them."""

    encoding: Literal["float32:zlib:base64"]
    data: str


def encode(values: np.ndarray) -> Coded:
    """Write finite float64 values [n].

    Different builds of zlib may compress the same codes to different text: compare what `decode` gives, not the text.

    Raises:
        ValueError: a value is not finite.
    """
    values = np.ascontiguousarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("an accuracy is not finite")
    all_bits = values.view(np.uint64)  # bits, so that 0.0 and −0.0 stay apart
    pieces = [all_bits[i : i + PIECE] for i in range(0, len(all_bits), PIECE)]
    bits = np.unique(np.concatenate([all_bits[:0], *map(np.unique, pieces)]))
    dtype: Dtype = next(name for name in DTYPES if len(bits) <= np.iinfo(name).max + 1)
    packer = zlib.compressobj(9)
    parts = [packer.compress(np.searchsorted(bits, piece).astype(DTYPES[dtype]).tobytes()) for piece in pieces]
    packed = b"".join([*parts, packer.flush()])
    listed = tuple(bits.view(np.float64).tolist())
    return Coded(ENCODING, listed, base64.b64encode(packed).decode("ascii"), dtype, len(values))


def encode_rough(values: np.ndarray) -> Rough:
    """Write float values [n] that need no more than float32, such as coarsities."""
    packed = zlib.compress(np.ascontiguousarray(values, dtype="<f4").tobytes(), 9)
    return Rough(ROUGH, base64.b64encode(packed).decode("ascii"))


def decode(coded: Coded, n: int) -> np.ndarray:
    """Read what `encode` wrote: float64 [n].

    Args:
        coded: the values.
        n: their number; no more than these are unpacked.

    Raises:
        ValueError: the content is damaged, or has another number of values.
    """
    if coded.n != n:
        raise ValueError(f"it has {coded.n} per-episode values for {n} episodes")
    codes = np.frombuffer(_unpacked(coded.codes, n * np.dtype(DTYPES[coded.dtype]).itemsize, n), DTYPES[coded.dtype])
    values = np.array(coded.values, dtype=np.float64)
    if codes.max(initial=0) >= max(len(values), 1):
        raise ValueError("its per-episode values refer to some that it does not list")
    return values[codes]


def decode_rough(coded: Rough, n: int) -> np.ndarray:
    """Read what `encode_rough` wrote: float64 [n]; arguments and errors as for `decode`."""
    return np.frombuffer(_unpacked(coded.data, 4 * n, n), dtype="<f4").astype(np.float64)


def plain(coded: Mapping[str, object]) -> dict[str, object]:
    """The JSON content of `Coded` or `Rough` with its text unpacked: equal for equal values, whatever zlib wrote it."""
    return {name: zlib.decompress(base64.b64decode(str(value))) if name in PACKED else value for name, value in coded.items()}


def _unpacked(text: str, size: int, n: int) -> bytes:
    """The bytes behind base64 text; unpacking stops where they exceed the size that they must have."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"its per-episode values do not decode ({type(error).__name__}: {error})") from error
    if len(content) != size or not unpacker.eof:
        raise ValueError(f"its per-episode values are not {n}, as it says")
    return content
