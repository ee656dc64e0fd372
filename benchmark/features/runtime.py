"""Runtimes: the library that computes a frozen network. On a CPU OpenVINO computes convolutional networks faster than torch.

A network is converted once for its weights and the size of its images, compared with torch, and kept in the cache. The number
of images a batch stays free.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...core.cache import Damaged, Entry, Key, digest_of
from ...core.errors import UserError
from ...core.files import cache_root
from ...core.progress import Progress
from ...core.unfinished import Unfinished
from ..backbones.weights.loading import LoadedBackbone
from ..records.identity import file_safe
from ..records.provenance import package_version

Runtime = Literal["auto", "torch", "openvino"]
EXTRA = "pip install openvino"
VERSION = 1  # changes when the same network is converted otherwise
AGREES = 1e-4  # largest distance from torch's feature, relative to its length
TRIED = (2, 3)  # images of the batch that a network is converted with, and of the one that it is compared on
FILE = "network.xml"  # and network.bin


class NotConverted(UserError):
    """A network that the runtime cannot hold."""


@dataclass(frozen=True)
class Conversion:
    """The description that the cache keeps with a converted network: everything that it depends on."""

    key: Key


def installed() -> bool:
    """Whether OpenVINO is there."""
    return importlib.util.find_spec("openvino") is not None


def version_of(runtime: Runtime) -> str:
    """Name and version of a runtime, as records have them: "openvino 2026.4.1"."""
    return f"{runtime} {package_version(runtime)}"


def gains(module: nn.Module) -> bool:
    """Whether a network belongs to the family that OpenVINO computes faster: at least half of its weights are convolutions'."""
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    inside = sum(parameter.numel() for layer in convolutions for parameter in layer.parameters(recurse=False))
    return 2 * inside >= sum(parameter.numel() for parameter in module.parameters()) > 0


def converted(backbone: LoadedBackbone, progress: Progress) -> LoadedBackbone:
    """The backbone with its network in OpenVINO, from the cache or converted now.

    Args:
        backbone: on the CPU.
        progress: told where the cache held a damaged conversion.

    Raises:
        NotConverted: OpenVINO does not take the network, or gives other features.
        UserError: the cache cannot be written.
    """
    key = _key(backbone)
    entry = Entry(cache_root() / "networks" / f"{file_safe(backbone.name)}-{digest_of(key)[:24]}", Conversion)
    what = f"converting {backbone.name}"
    try:
        entry.find()
    except Damaged as error:
        progress.say(f"{what} again: {error} in {entry.folder}")

    def fill(unfinished: Unfinished) -> Conversion:
        _openvino().save_model(_convert(backbone), unfinished.folder / FILE, compress_to_fp16=False)
        return Conversion(key)

    kept = entry.find_or_make(fill, progress, what)
    return replace(backbone, module=_compiled(_openvino().Core().read_model(kept.folder / FILE)))


def converted_uncached(backbone: LoadedBackbone) -> LoadedBackbone:
    """The backbone with its network in OpenVINO, converted now and kept nowhere; raises as `converted` does."""
    return replace(backbone, module=_compiled(_convert(backbone)))


class InOpenVino(nn.Module):
    """A compiled network, called as torch's is: float32 [B, C, H, W] to features [B, D], both on the CPU."""

    def __init__(self, network: Callable[..., Any]) -> None:
        """Take a compiled network."""
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch."""
        return torch.from_numpy(self.network(x.contiguous().numpy(), share_inputs=True)[0])


def _key(backbone: LoadedBackbone) -> Key:
    """Everything that a conversion depends on."""
    sha = hashlib.sha256()
    for name, tensor in backbone.module.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        sha.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        sha.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return {
        "backbone": backbone.name,
        "parameters": backbone.parameters,
        "code": backbone.code,
        "weights": sha.hexdigest(),
        "shape": [backbone.preprocess.channels, backbone.preprocess.size],
        "versions": [VERSION, version_of("openvino"), version_of("torch")],
    }


def _openvino() -> ModuleType:
    # OpenVINO tells its makers of each import and conversion unless this package of theirs is absent, which None stands for.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # pyright: ignore[reportMissingImports]

    return openvino


def _convert(backbone: LoadedBackbone) -> Any:
    """The network as OpenVINO's, for any number of images.

    Raises:
        NotConverted: it does not take it, or gives other features.
    """
    shape = (backbone.preprocess.channels, backbone.preprocess.size, backbone.preprocess.size)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of what depends on values: the comparison finds what matters
            example = _images(TRIED[0], backbone)
            free = _openvino().PartialShape([-1, *shape])
            network = _openvino().convert_model(backbone.module, example_input=example, input=[free])
            _compare(backbone, _compiled(network))
    except NotConverted:
        raise
    except Exception as error:  # both libraries, and the network's own code, raise anything
        reason = " ".join(str(error).split())[:200]
        raise NotConverted(f"OpenVINO does not take it ({type(error).__name__}: {reason})") from error
    return network


def _compiled(network: Any) -> InOpenVino:
    """A converted network, ready to run in torch's number of threads and in float32 (bfloat16 is the default on some CPUs)."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # else two runs on one machine share a core while others are idle
    }
    return InOpenVino(_openvino().compile_model(network, "CPU", settings))


def _compare(backbone: LoadedBackbone, network: InOpenVino) -> None:
    """Raise `NotConverted` where a converted network gives other features than torch."""
    images = _images(TRIED[1], backbone)
    expected, found = backbone.module(images), network(images)
    if found.shape != expected.shape:
        raise NotConverted(f"it gives features {list(found.shape)} in place of {list(expected.shape)}")
    distance = ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()
    if not distance <= AGREES:
        raise NotConverted(f"its features differ by {distance:.1g} of their length")


def _images(count: int, backbone: LoadedBackbone) -> Tensor:
    """Noise [count, C, H, W]."""
    shape = (count, backbone.preprocess.channels, backbone.preprocess.size, backbone.preprocess.size)
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
