"""Which device a run uses, and what it is called."""

from __future__ import annotations

import torch

from ..tasks.errors import UsageError
from .provenance import processor


def choose_device(name: str) -> torch.device:
    """Resolve `--device`: "auto" is the first GPU where there is one, else the CPU.

    Raises:
        UsageError: the device is unknown or not there.
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


def device_name(device: torch.device) -> str:
    """The model of a GPU, or of the processor as far as the system tells."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
