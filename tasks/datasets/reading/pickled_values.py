"""The values of a restricted pickle while it is read, and the few calls that numpy uses to write arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPE_CODE = re.compile(r"[biufcSU]\d{1,9}")


class Refused(Exception):
    """The pickle contains something that is not admitted."""


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that the pickle names. It is never imported."""

    name: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that may be array data, a string of Python 2, or bytes; their use decides."""

    view: memoryview
    is_text: bool


@dataclass(slots=True)
class DType:
    """A dtype; its byte order follows after its creation."""

    dtype: np.dtype


@dataclass(slots=True)
class Array:
    """An array; its data follow after its creation."""

    array: np.ndarray | None = None


def settled(value: Any) -> Any:
    """The final form of a value when it goes into a list or dictionary: raw bytes become text or bytes."""
    kind = type(value)
    if kind is Raw:
        return str(value.view, "latin-1") if value.is_text else bytes(value.view)
    if kind is Array:
        if value.array is None:
            raise ValueError("an array without data")
        return value.array
    if kind is tuple:
        return tuple(map(settled, value))
    if kind is DType:
        return value.dtype
    if kind is Name:
        raise Refused(f"the class {value.name}")
    return value


def array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Make an array that is a view of raw bytes."""
    if not isinstance(dtype, DType) or not isinstance(data, Raw | bytes | str):
        raise Refused("an array of objects")
    raw = data.view if isinstance(data, Raw) else data.encode("latin-1") if isinstance(data, str) else data
    shape = tuple(int(length) for length in settled(shape)) if isinstance(shape, tuple) else (int(shape),)
    flat = np.frombuffer(raw, dtype.dtype) if len(raw) else np.empty(0, dtype.dtype)
    return flat.reshape(shape, order="F" if settled(order) == "F" else "C")


def make_dtype(code: Any, *_: Any) -> DType:
    """Make the dtype of a code such as u1 or f8."""
    code = settled(code)
    if not isinstance(code, str) or not DTYPE_CODE.fullmatch(code):
        raise Refused(f"an array of type {code!r}")
    return DType(np.dtype(code))


def make_scalar(dtype: Any, data: Any) -> Any:
    """Make a Python number from the data of a numpy scalar."""
    return array(data, dtype, (), "C").item()


def encode(text: Any, encoding: Any = "latin1") -> Raw:
    """Make bytes from text: Python 3 writes bytes in this way in the protocols of Python 2."""
    if settled(encoding) not in ("latin1", "latin-1"):
        raise ValueError(encoding)
    return Raw(memoryview(settled(text).encode("latin-1")), is_text=False)


def no_bytes() -> bytes:
    """Make empty bytes: Python 3 writes them in this way in the protocols of Python 2."""
    return b""


CLASSES = {"numpy.ndarray"}
CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": make_dtype,
    "_codecs.encode": encode,
    "__builtin__.bytes": no_bytes,
    "builtins.bytes": no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    CALLS[f"{_core}.multiarray._reconstruct"] = lambda *_: Array()
    CALLS[f"{_core}.multiarray.scalar"] = make_scalar
    CALLS[f"{_core}.numeric._frombuffer"] = lambda data, dtype, shape, order: Array(array(data, dtype, shape, order))
