"""How fast an encoding was, beside what the device can do: floating-point operations against a timed matrix product."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..backbones.base import Preprocess
from ..backbones.weights.loading import LoadedBackbone
from .encode import AUTOCAST, Precision, arithmetic

LARGEST = {"cpu": 1024, "cuda": 8192}  # rows of the largest matrices multiplied
LONG = 0.1  # seconds a product; the next larger one would take eight times as long
REPEATS = 3


def flops_per_image(module: nn.Module, preprocess: Preprocess) -> int:
    """Floating-point operations of one image's way through a network: two for each multiplication with an addition.

    Matrix products, convolutions and attention count, as `torch.utils.flop_counter` knows them; the rest is small.
    """
    device, size = next(module.parameters()).device, preprocess.size
    image = torch.zeros(1, preprocess.channels, size, size, device=device)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # The counter knows neither the fast path of attention layers nor fused attention: let both be matrix products.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops()


def matrix_rate(device: torch.device, precision: Precision) -> float:
    """Floating-point operations a second in products of square matrices: the best of a few sizes, in about half a second."""
    best, rows = 0.0, 256
    dtype = AUTOCAST.get(precision, torch.float32)
    with arithmetic(device, precision):
        while rows <= LARGEST[device.type]:
            matrix = torch.ones(rows, rows, dtype=dtype, device=device)
            torch.mm(matrix, matrix)  # the first one also loads libraries
            seconds = min(_seconds(matrix) for _ in range(REPEATS))
            best = max(best, 2 * rows**3 / seconds)
            if seconds > LONG:
                break
            rows *= 2
    return best


def _seconds(matrix: torch.Tensor) -> float:
    """Wall-clock seconds of one product."""
    _wait(matrix.device)
    start = time.perf_counter()
    torch.mm(matrix, matrix)
    _wait(matrix.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def closing_line(backbone: LoadedBackbone, device: torch.device, precision: Precision, images: int, seconds: float) -> str:
    """The line of a verbose run on an encoding."""
    rate, possible = images / seconds, matrix_rate(device, precision)
    reached = rate * flops_per_image(backbone.module, backbone.preprocess)
    return (
        f"encoded {images:,} images at {rate:,.0f} images/s, that is {reached / 1e9:,.1f} Gflop/s: "
        f"{100 * reached / possible:.0f} % of the {possible / 1e9:,.1f} Gflop/s of a large matrix product in {precision}"
    )
