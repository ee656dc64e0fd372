"""Prints what was measured, and writes it to a page with `--speed-page docs/speed.md`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fewbench.benchmark.records.provenance import package_version, processor
from fewbench.core.heap import keep_heap

COMMAND = "python -m pytest tests/speed --override-ini addopts=--import-mode=importlib --speed-page docs/speed.md"
PAGE = """# Speed

`bench speed` measures your machine in about two minutes. It compares the installed runtimes and recommends `--runtime` and
`--batch-size`. The figures below are of another machine: {processor}, {threads} logical cores, torch {torch},
OpenVINO {openvino}, on {day}. One command wrote them, in about five minutes:

```
{command}
```

## Encoding

CPU milliseconds an image, on one thread and in batches of 16. Images of 84 pixels are read, resized to the network's size, made
ready and encoded; the weights are initial ones. "Times fewer" compares the first times with those of what `--runtime auto`
takes. The last columns hold its operations a second against the most that large matrix products, or a large convolution,
reach on one thread.

{table}

**Memory.** On Linux with glibc, every command and `fewbench.benchmark.run` keep freed memory, up to 1 GiB, to use it again
(`core/heap.py`). Otherwise glibc gives large buffers back after each layer, and the system clears every page anew. In batches
of 32, MobileNetV2 made 8,034 page faults an image, and now makes none. The peak of memory stays near what it was: 1.31 GB in
place of 1.42 for ResNet-50 in such batches, and 1.19 in place of 0.95 for all methods below in one process. Other systems stay
as they are.

**OpenVINO** joins a convolution with its batch norm and activation, and goes through memory less often. Where a network already
runs near that rate, nothing faster is left in float32. Vision transformers consist of matrix products.
[Encoding](encoding.md) says when `auto` takes OpenVINO.

## Episodes

20 classes × 600 images × 640 float32 features in memory; 5-way episodes with 15 queries a class, drawn, looked up, classified
and scored. Compared with another library, both are timed in turn in one process; the best round of each counts.
From run to run the ratios vary by a tenth or more.

```
{lines}
```

What a 1-shot episode must at least cost: reading 80 rows of 640 float32 (205 kB) from the table and writing them to the batch,
and for ProtoNet 0.48 million floating-point operations. `chance` gathers and computes nothing: it takes what gathering takes.

**Chunks.** A method is given as many episodes at once as touch 16 MiB, a power of two from 16 to 256: most get 64 with 1 or 5
shots, and 32 with 16. Heads that go through the support alone get up to 256, those that compute in float64 get 32. In chunks
of 16, 32, 64, 128 and 256, from row numbers to accuracies and in CPU time of one thread, 49 of 68 combinations of method and
shots had at least 90 % of their best speed with their own chunk, and the other 19 had 80 to 89 %. Most of these take few
operations, as `chance`, LDA and matching-net do, and would gain by 256. The solver of meta-opt-net touches more than its
features: with 16 shots it is given 16 episodes, 1.3 times as fast as with 64.

**Small solves.** torch's batched Cholesky factors and triangular solves take 18 % of meta-opt-net at 5 shots; the products and
sums around them take most of the rest. Linear-probe fits up to 64 coordinates by Newton steps, and more by L-BFGS on principal
components. At 5 shots the Newton steps take about half of its time, and the eigenvectors before them an eighth. At 16 shots the
eigenvectors take a fifth, and the many small steps of L-BFGS half.

**MAML** on Omniglot's network computes the same as learn2learn in the same layers. Convolutions take 42 % of the time; norms,
pooling and sums take nearly all the rest. What is left to gain is the work around the layers. It is small here, and large for
small networks.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--speed-page", type=Path, help="write what was measured to this markdown file")


@pytest.fixture(scope="session")
def table() -> list[str]:
    """The lines of the table of encodings, to be filled in."""
    return []


@pytest.fixture(scope="session")
def lines(request: pytest.FixtureRequest, table: list[str]) -> Iterator[list[str]]:
    """What was measured; on the page at the end, where one is asked for."""
    measured: list[str] = []
    keep_heap()  # as every command does
    yield measured
    path: Path | None = request.config.getoption("--speed-page")
    if path is not None:
        day, version = datetime.now(UTC).date(), package_version("torch")
        facts = {"day": day, "processor": processor(), "threads": os.cpu_count(), "torch": version}
        facts |= {"openvino": package_version("openvino") or "not installed", "table": "\n".join(table)}
        path.write_text(PAGE.format(command=COMMAND, lines="\n".join(measured), **facts), encoding="utf-8")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], lines: list[str]) -> Callable[[str], None]:
    """Print a line that pytest does not capture, and keep it for the page."""

    def write(line: str) -> None:
        lines.append(line)
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return write
