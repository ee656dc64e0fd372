"""The device of a run, and its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from ..core.errors import UsageError
from .records.provenance import processor


def choose_device(name: str) -> torch.device:
    """Resolve `--device`: "auto" is the first GPU where there is one, else the CPU.

    Raises:
        UsageError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: unknown; take auto, cpu or cuda") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name}: no such CUDA device on this machine; take --device cpu or auto")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported; take --device auto")
    return device


@contextmanager
def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
    """Let a GPU round the factors of float32 products to TF32's 10 bits, or not; restore torch's settings afterwards.

    Torch computes convolutions in TF32 unless it is told otherwise, so float32 has to be asked for.
    """
    matmul, cudnn = torch.backends.cuda.matmul, cast(Any, torch.backends.cudnn)  # a module, as far as types go
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        if device.type == "cuda":
            matmul.allow_tf32 = cudnn.allow_tf32 = allowed
        yield
    finally:
        if device.type == "cuda":
            matmul.allow_tf32, cudnn.allow_tf32 = before


def device_name(device: torch.device) -> str:
    """The model of a GPU, or of the processor as far as the system tells."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
