"""Commands that are killed at random times, and what the next command makes of what they left.

Not part of the ordinary tests, since each kill costs some seconds. From the root of the repository:

    python -m pytest tests/kills --override-ini addopts=--import-mode=importlib -s

Each command runs once undisturbed. Then, ten times, it is killed somewhere on its way and run again: afterwards there are the
same files with the same content (but for times of day, seconds and the like), and nothing else, hidden or not.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

KILLS = 10
ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, "-c", "from fewbench.benchmark.commands.main import main; main()"]
# What differs from run to run: parts of a record, of a manifest of the cache and of a description of weights.
VARIABLE = {"timing", "environment", "argv", "fewbench", "seconds", "encoded", "made_by", "files", "weights_sha256"}


class Place:
    """A working folder with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "FEWBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder.parent / "output.txt").open("wb") as output:
            return subprocess.Popen(
                [*BENCH, *command], cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def run(self, command: Sequence[str]) -> float:
        """Seconds that a command took."""
        began = time.monotonic()
        assert self.start(command).wait() == 0, (self.folder.parent / "output.txt").read_text()
        return time.monotonic() - began

    def content(self) -> dict[str, Any]:
        """Every file by name, without locks; of JSON what is the same in every run."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not name.startswith("cache/locks/"):
                found[name] = _same(json.loads(path.read_text())) if path.suffix == ".json" else _size(path)
        return found


def _size(path: Path) -> int | bytes:
    # Weights say when they were made, so their bytes differ; of the rest bytes count.
    return 0 if path.suffix in (".safetensors", ".csv", ".png") else path.read_bytes()


def _same(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _same(value) for key, value in content.items() if key not in VARIABLE}
    return [_same(one) for one in content] if isinstance(content, list) else content


def photos(folder: Path) -> None:
    """Four classes of 150 pictures of noise."""
    random_ = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(150):
            pixels = random_.integers(0, 256, (200, 200, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")


TRIFEATURE = ["data", "prepare", "trifeature"]
COMMANDS: dict[str, tuple[Sequence[Sequence[str]], Sequence[str]]] = {  # what is done before, and what is killed
    "run": ([TRIFEATURE], "run --method protonet --dataset trifeature --shots 1 --episodes 20000 --device cpu".split()),
    "leaderboard": ([], "leaderboard --results results --output board/leaderboard.md".split()),
    "prepare": ([], TRIFEATURE),
    "prepare photos": ([], "data prepare folder --from photos --size 64".split()),
    "import": (
        [TRIFEATURE, "features export --dataset trifeature --split val --output val.npz".split()],
        "features import val.npz --dataset trifeature --name mine".split(),
    ),
    "train": (
        [TRIFEATURE],
        "train --method protonet --dataset trifeature --set backbone.width=8 --steps 60 --validate-every 20 "
        "--val-episodes 100 --device cpu --output made/trained.safetensors".split(),
    ),
}


@pytest.fixture(scope="module")
def trifeature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache in which trifeature is prepared."""
    place = Place(tmp_path_factory.mktemp("trifeature") / "place")
    place.folder.mkdir()
    place.run(TRIFEATURE)
    return place.folder


@pytest.fixture(params=COMMANDS)
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Sequence[str]]:
    """The name of a command, a folder in which it can run, and the command."""
    before, command = COMMANDS[request.param]
    place = Place(tmp_path / "prepared")
    if TRIFEATURE in before:
        shutil.copytree(request.getfixturevalue("trifeature"), place.folder)
    place.folder.mkdir(exist_ok=True)
    if request.param == "leaderboard":
        for path in sorted((ROOT / "results" / "records").rglob("*.json"))[::4]:
            target = place.folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    if request.param == "prepare photos":
        photos(place.folder)
    for step in before:
        if step != TRIFEATURE:
            place.run(step)
    return request.param, place.folder, command


def test_a_killed_command_leaves_nothing_after_the_next(killed: tuple[str, Path, Sequence[str]], tmp_path: Path):
    name, prepared, command = killed
    place = Place(tmp_path / "place")  # always the same, since the cache knows a user's images by their path
    shutil.copytree(prepared, place.folder)
    seconds, expected = place.run(command), place.content()
    moments, hit, left = random.Random(name), 0, 0
    for number in range(KILLS):
        shutil.rmtree(place.folder)
        shutil.copytree(prepared, place.folder)
        process = place.start(command)
        time.sleep(moments.uniform(0.1, 0.8) * seconds)
        process.send_signal(signal.SIGKILL)
        hit += process.wait() == -signal.SIGKILL
        left += any(".fewbench." in path.name or ".unfinished" in path.name for path in place.folder.rglob("*"))
        place.run(command)
        found = place.content()
        assert found.keys() == expected.keys(), f"kill {number}"
        assert found == expected, f"kill {number}"
    told = f"{hit} of {KILLS} killed on their way of {seconds:.1f} s, {left} left something; the next command mended all"
    sys.stdout.write(f"{name}: {told}\n")
    assert hit
