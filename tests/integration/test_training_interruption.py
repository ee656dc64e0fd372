"""A training that is killed again and again ends as an undisturbed one, and Ctrl-C loses nothing at all."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fewbench.benchmark.training.loop.checkpoints import About, read_checkpoint

STEPS, KILLS = 60, 10
LIMIT = 120  # seconds to wait for something that takes a few
OPTIONS = {"steps": STEPS, "validate_every": 7, "learning_rate": 0.02, "optimizer": "adamw", "weight_decay": 0.1}
SLOWLY = {"seconds": 0.03}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")


@pytest.fixture(scope="module")
def trainings(plugins: Path) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("toy_training", plugins / "toy_training.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.Trainings()
    yield server
    server.close()


def request(folder: Path, **options: Any) -> dict[str, Any]:
    return {"folder": str(folder), "learner": SLOWLY, "options": {**OPTIONS, **options}, "environment": {}}


def steps_begun(folder: Path) -> list[int]:
    path = folder / "steps"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_steps(folder: Path, count: int) -> None:
    end = time.monotonic() + LIMIT
    while len(steps_begun(folder)) < count:
        assert time.monotonic() < end
        time.sleep(0.005)


def result(folder: Path) -> tuple[dict[str, list[int]], list[list[float]]]:
    """The bits of both checkpoints, and the curve without its seconds."""
    last, best = read_checkpoint(folder / "last.safetensors", About), read_checkpoint(folder / "best.safetensors", About)
    tensors = {f"last {name}": value for name, value in last.tensors.items()}
    tensors |= {f"best {name}": value for name, value in best.tensors.items()}
    curves = last.about["curves"]  # pyright: ignore[reportGeneralTypeIssues]
    seconds = curves["columns"].index("seconds")
    rows = [row[:seconds] + row[seconds + 1 :] for row in curves["rows"]]
    return {name: value.flatten().view(torch.uint8).tolist() for name, value in tensors.items()}, rows


@pytest.fixture(scope="module")
def undisturbed(trainings: Any, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("undisturbed")
    trainings.start(request(folder))
    assert trainings.codes() == [0]
    bits, rows = result(folder)
    assert len(rows) == STEPS
    return bits, rows


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 0.2])
def test_ten_kills_at_random_points_lose_nothing_but_the_steps_since_the_last_checkpoint(
    trainings: Any, undisturbed: Any, tmp_path: Path, checkpoint_seconds: float
):
    rng = random.Random(int(checkpoint_seconds * 10))
    kills = gone_on = 0
    while kills < KILLS:
        before = len(steps_begun(tmp_path))
        (process,) = trainings.start(request(tmp_path, checkpoint_seconds=checkpoint_seconds))
        wait_for_steps(tmp_path, before + rng.randint(1, 5))
        time.sleep(rng.uniform(0, 0.04))  # in the middle of a step, of a validation, of writing
        os.kill(process, signal.SIGKILL)
        assert trainings.codes() == [-signal.SIGKILL]
        kills += 1
        begun = steps_begun(tmp_path)
        assert begun[before:] == [*range(gone_on, gone_on + len(begun) - before)]  # from the checkpoint, one by one
        gone_on = read_checkpoint(tmp_path / "last.safetensors", About).about["step"]
        assert gone_on <= begun[-1] + 1
        if checkpoint_seconds == 0:
            assert gone_on >= begun[-1]  # every step but the one under way was written down
    assert gone_on < STEPS
    trainings.start(request(tmp_path, checkpoint_seconds=checkpoint_seconds))
    assert trainings.codes() == [0]
    assert result(tmp_path) == undisturbed
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"last.safetensors", "best.safetensors", "curves.csv", "curves.png", "steps", "best0"}


def test_ctrl_c_writes_a_checkpoint_and_the_same_command_goes_on(trainings: Any, undisturbed: Any, tmp_path: Path):
    (process,) = trainings.start(request(tmp_path, checkpoint_seconds=1000))
    wait_for_steps(tmp_path, 9)
    os.kill(process, signal.SIGINT)
    assert trainings.codes() == [130]
    done = len(steps_begun(tmp_path))
    error = (tmp_path / "error").read_text(encoding="utf-8")
    assert error == f"interrupted after step {done} of {STEPS}; the same command goes on from there"
    assert read_checkpoint(tmp_path / "last.safetensors", About).about["step"] == done
    trainings.start(request(tmp_path, checkpoint_seconds=1000))
    assert trainings.codes() == [0]
    assert steps_begun(tmp_path) == [*range(STEPS)]
    assert result(tmp_path) == undisturbed
