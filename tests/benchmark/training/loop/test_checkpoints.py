import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fewbench.benchmark.training.loop.checkpoints import About, check_identity, load_module, read_checkpoint, write_checkpoint
from fewbench.core.errors import UserError

TENSORS = {
    "learner.weight": torch.tensor([[1.0, 2.0]]),
    "learner.bias": torch.tensor([3.0]),
    "optimizer.0.step": torch.tensor(4),
}
IDENTITY = {"recipe": "supervised", "loop": {"steps": 10, "learning_rate": 0.1}, "sizes": [1, 2]}
ABOUT: About = {"identity": IDENTITY, "step": 7, "packages": {}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, TENSORS, ABOUT)
    return path


def test_what_is_written_is_read_back(path: Path):
    checkpoint = read_checkpoint(path, About)
    assert checkpoint.about == {**ABOUT, "format": 1}
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(checkpoint.tensors[name], value) for name, value in TENSORS.items())
    assert checkpoint.under("learner").keys() == {"weight", "bias"}


def test_the_same_content_is_the_same_bytes(path: Path):
    before = path.read_bytes()
    write_checkpoint(path, dict(reversed(TENSORS.items())), {"packages": {}, "step": 7, "identity": IDENTITY})
    assert path.read_bytes() == before


def test_tied_and_channels_last_weights_are_kept(tmp_path: Path):
    kernel = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    write_checkpoint(tmp_path / "tied", {"a": kernel, "b": kernel, "c": kernel[1:]}, ABOUT)
    tensors = read_checkpoint(tmp_path / "tied", About).tensors
    assert torch.equal(tensors["a"], kernel) and torch.equal(tensors["b"], kernel) and torch.equal(tensors["c"], kernel[1:])


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_file_cut_short_is_told_in_one_line(path: Path, kept: int):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"last\.safetensors is not a whole checkpoint .*--force begins anew") as caught:
        read_checkpoint(path, About)
    assert "\n" not in str(caught.value)


def test_another_safetensors_file_is_refused(tmp_path: Path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="is no training checkpoint"):
        read_checkpoint(tmp_path / "weights.safetensors", About)


def test_a_missing_file_is_told_in_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"best\.safetensors"):
        read_checkpoint(tmp_path / "best.safetensors", About)


def test_on_a_full_disk_the_earlier_checkpoint_survives(path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*last\.safetensors: No space left on device"):
        write_checkpoint(path, TENSORS, {**ABOUT, "step": 8})
    assert read_checkpoint(path, About).about["step"] == 7
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_same_identity_passes_and_another_is_refused_with_every_difference(path: Path):
    checkpoint = read_checkpoint(path, About)
    check_identity(checkpoint, IDENTITY)
    other = {"recipe": "rotation", "loop": {"steps": 10, "learning_rate": 0.2}, "crop": True}
    with pytest.raises(UserError) as caught:
        check_identity(checkpoint, other)
    assert "(crop: none → true; recipe: supervised → rotation; sizes: [1, 2] → none; learning_rate: 0.1 → 0.2)" in str(
        caught.value
    )


def test_an_option_known_under_two_names_is_told_once(tmp_path: Path):
    write_checkpoint(tmp_path / "last", {}, {**ABOUT, "identity": {"config": {"seed": 0}, "loop": {"seed": 0}}})
    with pytest.raises(UserError) as caught:
        check_identity(read_checkpoint(tmp_path / "last", About), {"config": {"seed": 1}, "loop": {"seed": 1}})
    assert str(caught.value).count("seed: 0 → 1") == 1


def test_a_module_is_filled_or_another_network_refused(path: Path):
    checkpoint, module = read_checkpoint(path, About), nn.Linear(2, 1)
    load_module(module, checkpoint, "learner")
    assert torch.equal(module.weight, TENSORS["learner.weight"])
    with pytest.raises(UserError, match=r"weight is of shape \[1, 2\] there and of shape \[1, 3\] here"):
        load_module(nn.Linear(3, 1), checkpoint, "learner")
    with pytest.raises(UserError, match=r"bias is of shape \[1\] there and absent here"):
        load_module(nn.Linear(2, 1, bias=False), checkpoint, "learner")
