"""How fast an encoding was, beside what the device can do: floating-point operations against timed products."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from ..backbones.base import Preprocess
from ..backbones.weights.loading import LoadedBackbone
from .encode import AUTOCAST, Precision, arithmetic

LARGEST = {"cpu": 1024, "cuda": 8192}  # rows of the largest matrices multiplied
LONG = 0.1  # seconds a product; the next larger one would take eight times as long
REPEATS = 3
IMAGES, WIDTH, SIDE = 4, 256, 28  # of the convolution, 3.7 Gflop


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
    """Floating-point operations a second in products of square matrices: the best of a few sizes, in about half a second.

    On a CPU also in a convolution, if that is faster: another library computes it, and on some processors the products
    reach less than half of its rate.
    """
    best, rows = 0.0, 256
    dtype = AUTOCAST.get(precision, torch.float32)
    with arithmetic(device, precision), torch.no_grad():
        while rows <= LARGEST[device.type]:
            matrix = torch.ones(rows, rows, dtype=dtype, device=device)
            seconds = _seconds(partial(torch.mm, matrix, matrix), device)
            best = max(best, 2 * rows**3 / seconds)
            if seconds > LONG:
                break
            rows *= 2
        if device.type == "cpu":
            images, kernels = torch.ones(IMAGES, WIDTH, SIDE, SIDE, dtype=dtype), torch.ones(WIDTH, WIDTH, 3, 3, dtype=dtype)
            seconds = _seconds(partial(conv2d, images, kernels, padding=1), device)
            best = max(best, 2 * 9 * IMAGES * (WIDTH * SIDE) ** 2 / seconds)
    return best


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of some work, the least of a few; the first call, which also loads libraries, does not count."""
    work()
    least = math.inf
    for _ in range(REPEATS):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        least = min(least, time.perf_counter() - start)
    return least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def closing_line(backbone: LoadedBackbone, device: torch.device, precision: Precision, images: int, seconds: float) -> str:
    """The line of a verbose run on an encoding."""
    rate, possible = images / seconds, matrix_rate(device, precision)
    reached = rate * flops_per_image(backbone.module, backbone.preprocess)
    return (
        f"encoded {images:,} images at {rate:,.0f} images/s, that is {reached / 1e9:,.1f} Gflop/s: "
        f"{100 * reached / possible:.0f} % of the {possible / 1e9:,.1f} Gflop/s that large products reach in {precision}"
    )
