"""Prints what was measured, and writes it to a page with `--speed-page docs/speed.md`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from fewbench.benchmark.records.provenance import package_version, processor

PAGE = """# Speed

Written by `{command}` on {day}, on {processor}, {threads} threads, torch {torch}.
The table: 20 classes × 600 images × 640 float32 features in memory; 5-way 1-shot episodes with 15 queries a class. A figure
covers drawing the episodes, looking their rows up, classifying, and scoring. Compared with another library, both are timed in
turn in one process; the best round of each counts.

```
{lines}
```

What a ProtoNet episode must at least cost here: reading 80 rows of 640 float32 (205 kB) from the table and writing them to the
batch, and 0.48 million floating-point operations for the scores. `chance` gathers and computes nothing: what it takes is what
gathering takes, and it is the larger part of ProtoNet's time.

**Memory.** On Linux with glibc, every command and `fewbench.benchmark.run` keep freed memory, up to 1 GiB, to use it again
(`core/heap.py`). Otherwise glibc gives large buffers back after each layer, and the system clears every page anew. In batches
of 32 images of 224 pixels on one core, MobileNetV2 took 15.2 ms an image in place of 26.1 (8,034 page faults an image became
none), and ResNet-50 71.1 in place of 93.0; that process had at most 1.31 GB in memory in place of 1.42. The heads gained up to
36 % (clip-adapter), with at most 1.19 GB in place of 0.95. Other systems stay as they are.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--speed-page", type=Path, help="write what was measured to this markdown file")


@pytest.fixture(scope="session")
def lines(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What was measured; on the page at the end, where one is asked for."""
    measured: list[str] = []
    yield measured
    path: Path | None = request.config.getoption("--speed-page")
    if path is not None:
        command = "python -m pytest tests/speed --override-ini addopts=--import-mode=importlib --speed-page docs/speed.md"
        day, version = datetime.now(UTC).date(), package_version("torch")
        facts = {"day": day, "processor": processor(), "threads": torch.get_num_threads(), "torch": version}
        path.write_text(PAGE.format(command=command, lines="\n".join(measured), **facts), encoding="utf-8")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], lines: list[str]) -> Callable[[str], None]:
    """Print a line that pytest does not capture, and keep it for the page."""

    def write(line: str) -> None:
        lines.append(line)
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return write
