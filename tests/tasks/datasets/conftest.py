import io
import pickletools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))


def random_pixels(*seed: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    """Make random pixels, uint8 [size, size, 3], a function of the seed."""
    return random_pixels


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Make a PNG file of the same pixels."""

    def encode(*seed: int, size: int = 8) -> bytes:
        file = io.BytesIO()
        Image.fromarray(random_pixels(*seed, size=size)).save(file, "PNG")
        return file.getvalue()

    return encode


def pickle_of_python_2(value: Any) -> bytes:
    body = b"\x80\x02" + _python_2(value) + b"."
    pickletools.dis(body, io.StringIO())  # it is a pickle indeed
    return body


@pytest.fixture
def python_2_pickle() -> Callable[[Any], bytes]:
    """What Python 2's cPickle writes with protocol 2 for a value; there is no Python 2 here to write it."""
    return pickle_of_python_2


def _python_2(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        raw = value.encode("latin-1") if isinstance(value, str) else value
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_python_2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_python_2(key) + _python_2(item) for key, item in value.items()) + b"u"
    if isinstance(value, np.ndarray):
        shape = b"(" + b"".join(map(_python_2, value.shape)) + b"t"
        dtype = b"cnumpy\ndtype\n(" + _python_2(value.dtype.str[1:]) + b"K\x00K\x01tR"
        dtype += b"(K\x03" + _python_2(value.dtype.str[0]) + b"NNN" + _python_2(-1) + _python_2(-1) + b"K\x00tb"
        new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return new + b"(K\x01" + shape + dtype + b"\x89" + _python_2(value.tobytes()) + b"tb"
    raise TypeError(type(value))
