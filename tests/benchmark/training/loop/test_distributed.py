import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fewbench.benchmark.training.loop.checkpoints import About, read_checkpoint
from fewbench.benchmark.training.loop.distributed import Processes, local_device, part_here, processes
from fewbench.benchmark.training.loop.learner import Part
from fewbench.core.errors import UserError

CPU = torch.device("cpu")
OPTIONS = {"steps": 30, "validate_every": 10, "learning_rate": 0.02, "clip_norm": 0.5}
LEARNER = {"norm": False, "dropout": 0.0}


@pytest.fixture(scope="module")
def trainings(toy: ModuleType) -> Iterator[Any]:
    server = toy.Trainings()
    yield server
    server.close()


def requests(folder: Path, world: int, **options: Any) -> list[dict[str, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        {
            "folder": str(folder),
            "learner": LEARNER,
            "options": {**OPTIONS, **options},
            "environment": {**common, "RANK": f"{rank}"},
        }
        for rank in range(world)
    ]


@pytest.mark.parametrize("options", [{}, {"optimizer": "locoprop", "learning_rate": 0.2}])
def test_two_processes_with_half_a_batch_each_train_as_one_with_the_whole(trainings: Any, options: Any, tmp_path: Path):
    for world in (1, 2):
        trainings.start(*requests(tmp_path / str(world), world, **options))
        assert trainings.codes() == [0] * world
    one, two = (read_checkpoint(tmp_path / str(world) / "last.safetensors", About) for world in (1, 2))
    for name, value in one.under("learner").items():
        torch.testing.assert_close(two.under("learner")[name], value, rtol=1e-5, atol=1e-5)
    curves = [checkpoint.about["curves"] for checkpoint in (one, two)]  # pyright: ignore[reportGeneralTypeIssues]
    losses = [[row[1] for row in curve["rows"]] for curve in curves]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)  # of the whole batch, not of the first half
    first, second = (load_file(tmp_path / "2" / f"best{rank}") for rank in (0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())  # both end with the best state


def test_two_processes_out_of_time_stop_at_one_step_and_go_on_together(trainings: Any, tmp_path: Path):
    trainings.start(*requests(tmp_path / "whole", 2))
    assert trainings.codes() == [0, 0]
    trainings.start(*requests(tmp_path / "parts", 2, time_limit=1e-9))
    assert trainings.codes() == [1, 1]
    assert read_checkpoint(tmp_path / "parts" / "last.safetensors", About).about["step"] == 1
    trainings.start(*requests(tmp_path / "parts", 2))
    assert trainings.codes() == [0, 0]
    whole, parts = (read_checkpoint(tmp_path / name / "last.safetensors", About).tensors for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_another_number_of_processes_is_another_training(trainings: Any, tmp_path: Path):
    trainings.start(*requests(tmp_path, 1))
    assert trainings.codes() == [0]
    trainings.start(*requests(tmp_path, 2))
    assert trainings.codes() == [1, 1]
    assert "(processes: 1 → 2)" in (tmp_path / "error").read_text(encoding="utf-8")


def test_alone_there_is_nothing_to_agree_on():
    assert part_here() == Part(0, 1)
    with processes(CPU) as group:
        assert group == Processes(Part(0, 1), CPU) and group.first
        assert group.from_first(2.5) == 2.5
    assert local_device(torch.device("cuda")) == torch.device("cuda")


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert part_here() == Part(5, 8)
    assert local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert local_device(CPU) == CPU


def test_a_world_without_an_address_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"WORLD_SIZE is 2, but .* start several processes with torchrun"), processes(CPU):
        pass
