from pathlib import Path

import pytest
import torch
from torch import Generator
from typer.testing import CliRunner

from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, read_description, write_checkpoint
from fewbench.benchmark.backbones.weights.description import Description, MetaTrained
from fewbench.benchmark.commands.main import app
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.metric.relation_net import RelationNet


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Encoder and relation module in the current folder."""
    monkeypatch.chdir(tmp_path)
    encoder = RelationEncoder().build(1, 28, Generator().manual_seed(1))
    torch.save(encoder.state_dict(), "encoder.pkl")
    torch.save(RelationNet().learned_part(encoder, 1600, 5, Generator().manual_seed(2)).state_dict(), "relation.pkl")
    return ["encoder.pkl", "relation.pkl"]


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["convert-weights", "--layout", "relation-net", *arguments])


def about_of(path: str) -> Description:
    about = read_description(Path(path))
    assert about is not None
    return about


def test_options_reach_the_description(files: list[str]):
    options = ["--output", "out.safetensors", "--dataset", "omniglot", "--ways", "20", "--set", "bn=batch"]
    done = invoke(*files, *options)
    assert (done.exit_code, done.stdout) == (0, "out.safetensors\n")
    about = about_of("out.safetensors")
    assert about.method == MetaTrained("relation-net", {"bn": "batch"}, 20)
    assert about.pretraining.external is True
    command = about.made_by.command
    assert command.endswith("--dataset omniglot --ways 20 --external --set bn=batch encoder.pkl relation.pkl")
    assert invoke(*files, *options, "--no-external", "--overwrite").exit_code == 0
    assert about_of("out.safetensors").pretraining.external is False


def test_one_file_is_not_enough(files: list[str]):
    assert isinstance(invoke(files[0], "--output", "out.safetensors").exception, UsageError)


def test_half_keeps_what_is_known_and_nearly_every_bit(files: list[str], monkeypatch: pytest.MonkeyPatch):
    assert invoke(*files, "--output", "whole.safetensors").exit_code == 0
    done = CliRunner().invoke(app, ["convert-weights", "whole.safetensors", "--half", "--output", "half.safetensors"])
    assert (done.exit_code, done.stdout) == (0, "half.safetensors\n")
    whole, half = read_checkpoint(Path("whole.safetensors")), read_checkpoint(Path("half.safetensors"))
    assert half.description is not None and whole.description is not None
    assert half.description.pretraining == whole.description.pretraining
    assert half.description.made_by.half_of == whole.sha256 != half.sha256
    for name, tensor in whole.tensors.items():
        kept = half.tensors[name]
        assert kept.dtype == (torch.float16 if tensor.dim() > 1 else tensor.dtype)
        torch.testing.assert_close(kept.to(tensor.dtype), tensor, rtol=2**-10, atol=2**-24)
    assert Path("half.safetensors").stat().st_size < 0.55 * Path("whole.safetensors").stat().st_size


def test_half_is_refused_where_float16_ends(files: list[str]):
    assert invoke(*files, "--output", "whole.safetensors").exit_code == 0
    whole = read_checkpoint(Path("whole.safetensors"))
    assert whole.description is not None
    name = next(name for name, tensor in whole.tensors.items() if tensor.dim() > 1)
    write_checkpoint(Path("large.safetensors"), {**whole.tensors, name: whole.tensors[name] * 1e9}, whole.description)
    done = CliRunner().invoke(app, ["convert-weights", "large.safetensors", "--half", "--output", "half.safetensors"])
    assert isinstance(done.exception, UserError) and f"{name} holds" in str(done.exception)
    assert not Path("half.safetensors").exists()


def test_half_takes_no_layout_and_no_unknown_weights(files: list[str]):
    done = invoke(files[0], "--half", "--output", "half.safetensors")
    assert isinstance(done.exception, UsageError) and "--half takes one checkpoint" in str(done.exception)
    done = CliRunner().invoke(app, ["convert-weights", files[0], "--half", "--output", "half.safetensors"])
    assert isinstance(done.exception, UsageError) and "without a description" in str(done.exception)
    done = CliRunner().invoke(app, ["convert-weights", files[0], "--output", "half.safetensors"])
    assert isinstance(done.exception, UsageError) and "--layout" in str(done.exception)
