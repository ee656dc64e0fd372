"""Times of work, and the rates of the processor that they are held against."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..features.throughput import matrix_rate

LONG_ENOUGH = 0.5  # seconds of a measurement
COPIED = 2**26  # numbers of an array that no cache holds, 256 MiB
REPEATS = 3


class Seconds(NamedTuple):
    """Wall-clock seconds, and seconds of all processors together, which other work on the machine changes little."""

    wall: float
    cpu: float


def seconds(work: Callable[[], object], least: float = LONG_ENOUGH) -> Seconds:
    """The seconds of one call, after one that is not counted: the mean over so many as fill `least` seconds."""
    work()
    calls, wall, cpu = 0, time.perf_counter(), time.process_time()
    while calls == 0 or time.perf_counter() - wall < least:
        work()
        calls += 1
    return Seconds((time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls)


def copy_rate() -> float:
    """Bytes a second, read and written, of copying an array larger than the caches."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    best = min(seconds(lambda: target.copy_(source), 0).wall for _ in range(REPEATS))
    return 2 * 4 * COPIED / best


def threads() -> int:
    """Threads that torch and OpenVINO compute with."""
    return torch.get_num_threads()


def product_rate() -> float:
    """Floating-point operations a second that large products reach in float32 (`matrix_rate`)."""
    return matrix_rate(torch.device("cpu"), "fp32")


def peak_memory() -> int | None:
    """The most bytes that this process has had in memory; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
