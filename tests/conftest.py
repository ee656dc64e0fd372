"""What all tests share: one cache folder a session, and a dataset with weights that are made in milliseconds."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's, here and in processes that tests start: all that they compute is small

import numpy as np
import pytest
from hypothesis import settings

from fewbench.core.progress import Advance, SilentProgress

# A busy machine is no failure, and a run tries the same examples as the one before it.
settings.register_profile("fewbench", deadline=None, derandomize=True, database=None)
settings.load_profile("fewbench")

PLUGINS = Path(__file__).parent / "plugins"
OTHER_ROUNDING = 1e-4  # of the largest number of a case: other processors round otherwise


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for the whole session, and for all of its processes: what is rendered or encoded once is there for all.

    The user's is left alone.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"  # the parent is that of all workers
    folder.mkdir(exist_ok=True)
    before = os.environ.get("FEWBENCH_CACHE")
    os.environ["FEWBENCH_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["FEWBENCH_CACHE"]
    else:
        os.environ["FEWBENCH_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C counts, here and in the processes that are started, even where the tests run in the background under nohup."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def without_openvino() -> Iterator[None]:
    """OpenVINO counts as not installed, but where a test asks for it: converting takes longer than encoding a few images."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "openvino", None)
        yield


class Listener(SilentProgress):
    """Remembers what it was told: [description, total, steps done] of each bar, and the messages."""

    def __init__(self) -> None:
        self.bars: list[list[Any]] = []
        self.said: list[str] = []

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        bar = [description, total, 0]
        self.bars.append(bar)

        def advance(steps: int) -> None:
            bar[2] += steps

        yield advance

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def listener() -> Listener:
    """A progress that remembers."""
    return Listener()


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The folder of the plug-in files."""
    return PLUGINS


@pytest.fixture(scope="session")
def tiny() -> str:
    """What `--dataset` takes for a dataset of 12 classes × 30 images of 16 × 16 pixels."""
    return f"{PLUGINS / 'tiny.py'}:Tiny"


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small Conv-4 for the images of `tiny`."""
    import torch

    from fewbench.benchmark.backbones.base import Preprocess
    from fewbench.benchmark.backbones.conv4 import Conv4
    from fewbench.benchmark.backbones.weights.checkpoint import write_checkpoint
    from fewbench.benchmark.backbones.weights.description import Description
    from fewbench.benchmark.records.answerer import Pretraining

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    preprocess = Preprocess(channels=3, size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    module = Conv4(width=8).build(preprocess.channels, preprocess.size, torch.Generator().manual_seed(1))
    seen = Pretraining("nothing", "random", external=False)
    write_checkpoint(path, module.state_dict(), Description("conv4", {"width": 8}, preprocess, seen))
    return path


@pytest.fixture
def same_as_known(request: pytest.FixtureRequest):
    """A function that compares numbers with those that a JSON file knows for a name and a version of its code."""
    record = f"RECORD_NUMBERS=1 pytest {Path(request.node.path).relative_to(request.config.rootpath)}"

    def compare(file: Path, name: str, version: str, numbers: dict[str, list[float]]) -> None:
        known = json.loads(file.read_text(encoding="utf-8"))
        of_version = known.setdefault(name, {}).get(version)
        if of_version is None and "RECORD_NUMBERS" in os.environ:
            known[name] = {version: numbers}
            lines = [f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in sorted(known.items())]
            file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
            return
        assert of_version is not None, f"no numbers of {name} version {version}: {record}"
        assert numbers.keys() == of_version.keys()
        for case, values in numbers.items():
            largest = np.abs(of_version[case]).max()
            assert np.allclose(values, of_version[case], rtol=0, atol=OTHER_ROUNDING * largest), (
                f"the numbers of {name} ({case}) changed and its version did not. Where that is meant, write "
                f'`version: ClassVar[str] = "{int(version) + 1}"` in the class and run {record}'
            )

    return compare
