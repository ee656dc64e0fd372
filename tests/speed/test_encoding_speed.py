"""CPU time of encoding an image: in torch with memory given back and kept, and in OpenVINO, each on one thread.

How a process keeps memory cannot be undone, so that there are two of them, one after the other. As test_speed.py, this is not
part of the ordinary tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from fewbench.benchmark.speed.encoding import BACKBONES, BATCH
from fewbench.benchmark.speed.rates import copy_rate, product_rate

SLOWER = 1.1  # at most, of a network that `--runtime auto` gives to OpenVINO
HEADERS = ("backbone", "pixels", "torch, memory given back", "torch", "OpenVINO", "times fewer", "Gflop/s", "of the product's")
MEASURE = """
import json, sys
if sys.argv[1] == "kept":
    from fewbench.core.heap import keep_heap
    keep_heap()
else:
    sys.modules["openvino"] = None  # measured once is enough
import torch
torch.set_num_threads(1)
from fewbench.benchmark.speed.encoding import encoding_speeds
from fewbench.core.progress import SILENT
for name in sys.argv[3:]:
    for one in encoding_speeds(name, (int(sys.argv[2]),), SILENT, 1.0):
        print(json.dumps([name, one.runtime, one.pixels, one.image.cpu, one.flops, one.gains]))
"""


def measured(how: str) -> dict[str, dict[str, list]]:
    """By backbone and runtime: pixels, CPU seconds an image, floating-point operations, and whether auto takes OpenVINO."""
    command = [sys.executable, "-c", MEASURE, how, str(BATCH), *BACKBONES]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, dict[str, list]] = {}
    for name, runtime, *rest in map(json.loads, done.stdout.splitlines()):
        found.setdefault(name, {})[runtime] = rest
    return found


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_encoding(one_thread: None, say: Callable[[str], None], table: list[str]):
    before, now = measured("given back"), measured("kept")
    product = product_rate()
    say(f"on one thread, large products: {product / 1e9:,.0f} Gflop/s; copying: {copy_rate() / 1e9:,.1f} GB/s")
    table += [f"| {' | '.join(HEADERS)} |", f"|---|{'---:|' * (len(HEADERS) - 1)}"]
    for name, found in now.items():
        pixels, first, flops, gains = before[name]["torch"]
        times = {runtime: rest[1] for runtime, rest in found.items()}
        best = times["openvino"] if gains and "openvino" in times else times["torch"]
        cells = [1000 * first, 1000 * times["torch"], 1000 * times["openvino"] if "openvino" in times else None]
        shown = ["–" if cell is None else f"{cell:.1f}" for cell in cells]
        rate = flops / best
        more = [f"{first / best:.1f}", f"{rate / 1e9:.0f}", f"{rate / product:.0%}"]
        table.append(f"| {name} | {pixels} | {' | '.join([*shown, *more])} |")
    if all("openvino" in found for found in now.values()):
        slower = {name: one["openvino"][1] / one["torch"][1] for name, one in now.items() if one["torch"][3]}
        assert max(slower.values()) < SLOWER, slower
    else:
        pytest.skip("OpenVINO is not installed: torch alone was measured")
