from pathlib import Path

import pytest
import torch
from torch import Generator
from typer.testing import CliRunner

from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.benchmark.backbones.weights.checkpoint import read_description
from fewbench.benchmark.backbones.weights.description import Description, MetaTrained
from fewbench.benchmark.commands.main import app
from fewbench.core.errors import UsageError
from fewbench.methods.relation_net import RelationNet


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
    assert about.pretraining["external"] is True
    command = about.made_by["command"]
    assert command.endswith("--dataset omniglot --ways 20 --external --set bn=batch encoder.pkl relation.pkl")
    assert invoke(*files, *options, "--no-external", "--overwrite").exit_code == 0
    assert about_of("out.safetensors").pretraining["external"] is False


def test_one_file_is_not_enough(files: list[str]):
    assert isinstance(invoke(files[0], "--output", "out.safetensors").exception, UsageError)
