"""An encoding that is killed or interrupted goes on from where it was, and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

IMAGES, BATCH = 360, 32
LIMIT = 120  # seconds to wait for something that takes a few

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGINT for a process nor SIGKILL")


@pytest.fixture
def arguments(tiny: str, tiny_weights: Path, plugins: Path, tmp_path: Path) -> list[str]:
    """A short run whose encoding is as slow as the environment says."""
    weights = tmp_path / "weights.safetensors"
    save_file(load_file(tiny_weights), weights)  # without the description, which knows another backbone
    settings = ["--set", "backbone.width=8", "--set", "backbone.size=16"]
    backbone = ["--backbone", f"{plugins / 'slow_backbone.py'}:SlowConv4", "--weights", str(weights), *settings]
    return ["run", "--dataset", tiny, *backbone, "--queries", "5", "--episodes", "64", "--device", "cpu", "--runtime", "torch"]


def surroundings(cache: Path, seconds: float) -> dict[str, str]:
    """The environment of a run with a cache and a pause for every batch, which then begins to be noted."""
    cache.mkdir(exist_ok=True)
    batches = cache / "batches"
    batches.write_text("")
    return {"FEWBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1", "SLOW_FILE": str(batches), "SLOW_SECONDS": str(seconds)}


@pytest.fixture
def start(arguments: list[str], start_bench: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    """A function that starts the run with a cache and a pause for every batch."""

    def start(cache: Path, seconds: float) -> subprocess.Popen[str]:
        return start_bench(*arguments, "--overwrite", cwd=tmp_path, **surroundings(cache, seconds))

    return start


def encoded(cache: Path) -> list[int]:
    """Images of each batch that the latest run has begun to encode."""
    return [int(line) for line in (cache / "batches").read_text().splitlines()]


def safe(cache: Path) -> int:
    """Images that are safely on the disk."""
    path = next(cache.glob("features/.*.unfinished/journal.jsonl"), None)
    _, *lines = [""] if path is None else path.read_text(encoding="utf-8").split("\n")[:-1]
    reached = [line for line in map(json.loads, lines) if isinstance(line, dict)]
    return reached[-1]["done"] if reached else 0


@pytest.fixture
def finish(arguments: list[str], bench_many: Callable[..., list[Any]], tmp_path: Path):
    """A function that does the run with a cache, without a pause, to its good end; gives what it wrote to standard error."""

    def finish(cache: Path) -> str:
        environment = surroundings(cache, 0)
        (done,) = bench_many([([*arguments, "--overwrite"], tmp_path)], **environment)
        assert done.code == 0, done.err
        return done.err

    return finish


def features(cache: Path) -> bytes:
    """The table's bytes; there is one table and nothing beside it."""
    (folder,) = (cache / "features").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["features.npy", "manifest.json"]
    return (folder / "features.npy").read_bytes()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a good end; returns what it wrote to standard error."""
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    return err


def test_a_kill_and_ctrl_c_then_the_bytes_of_an_undisturbed_encoding(start, finish, wait_for, tmp_path: Path):
    cache = tmp_path / "disturbed"
    process = start(cache, 0.4)
    wait_for(lambda: safe(cache) > 0, process)
    process.kill()
    process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGKILL
    killed = safe(cache)
    assert 0 < killed < IMAGES and killed % BATCH == 0

    process = start(cache, 0.4)
    wait_for(lambda: len(encoded(cache)) >= 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130 and "Traceback" not in err
    assert f"going on after {killed} of {IMAGES} images" in err
    interrupted = safe(cache)
    assert killed < interrupted < IMAGES and interrupted % BATCH == 0
    assert f"interrupted after {interrupted} of {IMAGES} images" in err

    err = finish(cache)
    assert f"going on after {interrupted} of {IMAGES} images" in err
    assert sum(encoded(cache)) == IMAGES - interrupted

    undisturbed = tmp_path / "undisturbed"
    err = finish(undisturbed)
    assert "going on" not in err and sum(encoded(undisturbed)) == IMAGES
    assert features(cache) == features(undisturbed)


def test_two_processes_that_want_the_same_table_encode_it_once(start, wait_for, tmp_path: Path):
    cache = tmp_path / "shared"
    first = start(cache, 0.1)
    wait_for(lambda: len(encoded(cache)) > 0, first)
    first.send_signal(signal.SIGSTOP)
    second = start(cache, 0.1)
    assert second.stderr is not None
    assert any("another process is at it; waiting" in line for line in second.stderr)
    first.send_signal(signal.SIGCONT)
    assert "waiting" not in ended(first)
    ended(second)
    assert encoded(cache) and sum(encoded(cache)) <= IMAGES
    assert len(features(cache)) > 0
