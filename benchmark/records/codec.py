"""Per-episode accuracies as JSON: compact, and the same float64 bit for bit when read back.

An accuracy is a fraction of few queries, so 10,000 of them share less than a hundred values: the distinct values are listed
and each episode is a one-byte (or wider) number into that list, zlib-compressed and written as base64 text.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

ENCODING = "values+codes:zlib:base64"
ROUGH = "float32:zlib:base64"
DTYPES = {"uint8": "<u1", "uint16": "<u2", "uint32": "<u4"}  # little-endian on every machine


def encode(values: np.ndarray) -> dict[str, Any]:
    """Write finite float64 values [n] as JSON-ready content.

    Different builds of zlib may compress the same codes to different text: compare what `decode` gives, not the text.

    Raises:
        ValueError: a value is not finite.
    """
    values = np.ascontiguousarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("an accuracy is not finite")
    bits, codes = np.unique(values.view(np.uint64), return_inverse=True)  # bits, so that 0.0 and −0.0 stay apart
    dtype = next(name for name in DTYPES if len(bits) <= np.iinfo(name).max + 1)
    packed = zlib.compress(codes.astype(DTYPES[dtype]).tobytes(), 9)
    return {
        "encoding": ENCODING,
        "values": bits.view(np.float64).tolist(),
        "codes": base64.b64encode(packed).decode("ascii"),
        "dtype": dtype,
        "n": len(values),
    }


def encode_rough(values: np.ndarray) -> dict[str, Any]:
    """Write float values [n] that need no more than float32, such as coarsities, as JSON-ready content."""
    packed = zlib.compress(np.ascontiguousarray(values, dtype="<f4").tobytes(), 9)
    return {"encoding": ROUGH, "data": base64.b64encode(packed).decode("ascii")}


def decode_rough(encoded: Mapping[str, Any]) -> np.ndarray:
    """Read what `encode_rough` wrote: float64 [n].

    Raises:
        ValueError: the content is damaged or of another encoding.
    """
    try:
        if encoded["encoding"] != ROUGH:
            raise ValueError(f"unknown encoding '{encoded['encoding']}'")
        content = zlib.decompress(base64.b64decode(encoded["data"], validate=True))
        return np.frombuffer(content, dtype="<f4").astype(np.float64)
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"its values do not decode ({type(error).__name__}: {error})") from error


def decode(encoded: Mapping[str, Any]) -> np.ndarray:
    """Read what `encode` wrote: float64 [n].

    Raises:
        ValueError: the content is damaged or of another encoding.
    """
    try:
        if encoded["encoding"] != ENCODING:
            raise ValueError(f"unknown encoding '{encoded['encoding']}'")
        values = np.array(encoded["values"], dtype=np.float64)
        content = zlib.decompress(base64.b64decode(encoded["codes"], validate=True))
        codes = np.frombuffer(content, dtype=DTYPES[encoded["dtype"]])
        expected = encoded["n"]
    except (KeyError, TypeError, OverflowError, zlib.error) as error:
        raise ValueError(f"its per-episode accuracies do not decode ({type(error).__name__}: {error})") from error
    if len(codes) != expected:
        raise ValueError(f"it has {len(codes)} per-episode accuracies and says {expected}")
    if values.ndim != 1 or codes.max(initial=0) >= max(len(values), 1):
        raise ValueError("its per-episode accuracies refer to values that it does not list")
    return values[codes]
