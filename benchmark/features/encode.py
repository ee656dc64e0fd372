"""Encoding: every image of a split through a frozen backbone once, in the order of its rows, batch by batch.

While the device works on one batch the next is read (`read_ahead`), and results are taken one batch later than they were
asked for, so that a GPU never waits for the host.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UsageError, UserError, did_you_mean
from ...core.quiet import quiet
from ...tasks.datasets.split import Images
from ..backbones.base import Preprocess
from ..backbones.weights.loading import LoadedBackbone
from ..device import tf32
from .read_ahead import read_ahead
from .runtime import EXTRA, Runtime, gains, installed

Precision = Literal["fp32", "bf16", "fp16", "tf32"]
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Small batches stay in a CPU's cache. A GPU begins with many and halves them until they fit.
BATCH = {"cpu": 32, "cuda": 1024}
BATCH_IN_OPENVINO = 16
VERSION = 1  # changes when the same weights and images give other features


@dataclass(frozen=True)
class Encoding:
    """How images are encoded.

    Attributes:
        batch_size: images at a time, at least 1; None takes 32 on a CPU and as many as fit, up to 1024, on a GPU.
        precision: fp32; tf32, which multiplies with 10 bits of mantissa on a GPU; bf16 or fp16 through autocast.
        compile: through `torch.compile` first.
        runtime: the library that computes the network; auto takes OpenVINO for a network that gains by it (`runtime_for`).
    """

    batch_size: int | None = None
    precision: Precision = "fp32"
    compile: bool = False
    runtime: Runtime = "auto"

    def __post_init__(self) -> None:
        """Check that the settings are possible.

        Raises:
            UsageError: the batch size is not positive, or the precision or the runtime unknown.
        """
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: at least 1, or auto")
        if self.precision not in get_args(Precision):
            raise UsageError(f"--precision {self.precision}: unknown; {did_you_mean(self.precision, get_args(Precision))}")
        if self.runtime not in get_args(Runtime):
            raise UsageError(f"--runtime {self.runtime}: unknown; {did_you_mean(self.runtime, get_args(Runtime))}")

    @property
    def dtype(self) -> np.dtype:
        """The type of stored features: float16 where they were computed in 16 bits, else float32."""
        return np.dtype(np.float16 if self.precision in AUTOCAST else np.float32)

    def check(self, device: torch.device) -> None:
        """Check that the device has precision and runtime; without them a record would be wrong, or a run far too slow.

        Raises:
            UsageError: tf32 or fp16 without a GPU, or OpenVINO with one, in another precision than fp32, or compiled by torch.
            UserError: OpenVINO is not installed.
        """
        if self.runtime == "openvino":
            if not installed():
                raise UserError(f"--runtime openvino: it is not installed; {EXTRA}")
            if not self._plain_on(device):
                raise UsageError(
                    "--runtime openvino: it runs on a CPU in fp32, without --compile; take --device cpu or leave it out"
                )
        if self.precision == "tf32" and device.type != "cuda":
            raise UsageError("--precision tf32: only CUDA devices have it; take --precision fp32 or bf16")
        if self.precision == "fp16" and device.type == "cpu":
            raise UsageError("--precision fp16: CPUs are many times slower with it; take bf16 or fp32")

    def runtime_for(self, module: nn.Module, device: torch.device) -> Runtime:
        """The runtime that encodes; "auto" is OpenVINO on a CPU where it is installed and the network gains by it."""
        if self.runtime != "auto":
            return self.runtime
        return "openvino" if self._plain_on(device) and installed() and gains(module) else "torch"

    def _plain_on(self, device: torch.device) -> bool:
        return device.type == "cpu" and self.precision == "fp32" and not self.compile


DEFAULT = Encoding()


class EncodedBatch(NamedTuple):
    """One batch.

    Attributes:
        features: float16 or float32 [B, D], of the B images that follow the batch before.
        batch_size: B, but in the last batch, which holds what is left.
    """

    features: np.ndarray
    batch_size: int


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Compute without gradients and in a precision; torch's settings are put back afterwards."""
    autocast = torch.autocast(device.type, dtype=AUTOCAST.get(precision), enabled=precision in AUTOCAST)
    with tf32(device, precision == "tf32"), torch.inference_mode(), autocast:
        yield


def encode(
    backbone: LoadedBackbone,
    images: Images,
    device: torch.device,
    encoding: Encoding,
    start: int = 0,
    batch_size: int | None = None,
) -> Generator[EncodedBatch, None, None]:
    """Yield the features of images in order. A batch that does not fit into memory is halved, and so are all after it.

    Args:
        backbone: moved to `device` and left there.
        images: uint8 [n, H, W, C], often memory-mapped; read batch by batch.
        device: where the network runs.
        encoding: precision, batch size, whether to compile; its runtime is the one that the network is in.
        start: first image.
        batch_size: where an encoding goes on: the size that it had come to.

    Raises:
        UsageError: the device lacks the precision.
        UserError: not even one image fits, a feature is not finite, or the network cannot be compiled.
    """
    encoding.check(device)
    module = backbone.module.to(device).to(memory_format=torch.channels_last)  # twice as fast as the default on a CPU
    network = _compiled(module, backbone.name) if encoding.compile else module
    size = batch_size or encoding.batch_size or (BATCH_IN_OPENVINO if encoding.runtime == "openvino" else BATCH[device.type])
    size = min(size, len(images))
    while start < len(images):
        try:
            with closing(_in_batches(network, backbone, images, device, encoding, start, size)) as batches:
                for features in batches:
                    yield EncodedBatch(features, size)
                    start += len(features)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise UserError(f"encoding with {backbone.name}: not even one image fits into the memory of {device}") from None
            size = (size + 1) // 2
        if device.type == "cuda":
            torch.cuda.empty_cache()  # the blocks of the larger batches


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's own type is raised for GPUs alone, and not by their libraries."""
    text = str(error)
    told = any(part in text for part in ("can't allocate memory", "out of memory", "_ALLOC_FAILED"))
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and told)


def _in_batches(
    network: Callable[[Tensor], Tensor],
    backbone: LoadedBackbone,
    images: Images,
    device: torch.device,
    encoding: Encoding,
    start: int,
    size: int,
) -> Generator[np.ndarray, None, None]:
    """Features [B, D] of each batch, as they are stored."""
    dtype = torch.float16 if encoding.precision in AUTOCAST else torch.float32
    waiting: Callable[[], np.ndarray] | None = None
    with closing(read_ahead(images, start, size, device)) as batches:
        for batch in batches:
            asked = _to_host(_features(network, backbone.preprocess, batch, encoding.precision).to(dtype))
            if waiting is not None:
                yield _checked(waiting(), encoding, backbone.name)
            waiting = asked
    if waiting is not None:
        yield _checked(waiting(), encoding, backbone.name)


def _features(network: Callable[[Tensor], Tensor], preprocess: Preprocess, batch: Tensor, precision: Precision) -> Tensor:
    """Features of stored images. A function of its own, so that no image is held longer than it is needed."""
    with torch.inference_mode():
        x = preprocess(batch)
    with arithmetic(batch.device, precision):
        return network(x)


def _to_host(features: Tensor) -> Callable[[], np.ndarray]:
    """Ask for features on the host; the function returned waits for them."""
    if features.device.type == "cpu":
        return features.numpy
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    host.copy_(features, non_blocking=True)
    copied = torch.cuda.current_stream(features.device).record_event()

    def wait() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return wait


def _checked(features: np.ndarray, encoding: Encoding, name: str) -> np.ndarray:
    if np.isfinite(features).all():
        return features
    if encoding.precision in AUTOCAST:
        raise UserError(f"--precision {encoding.precision}: a feature is not finite in 16 bits; take --precision fp32")
    raise UserError(f"encoding with {name}: a feature is NaN or infinite; check the weights and how images are made ready")


def _compiled(module: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """The network through `torch.compile`, which does its work, and fails, at the first batch."""
    network = torch.compile(module)

    def call(x: Tensor) -> Tensor:
        try:
            # Compiling imports torch's builder of extensions, which warns of CUDA libraries where there is no GPU.
            with quiet(logging.getLogger("torch.utils.cpp_extension"), logging.ERROR):
                return network(x)
        except Exception as error:
            if out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"torch cannot compile {name} ({type(error).__name__}: {reason}); run without --compile") from error

    return call
