from pathlib import Path

import pytest

from fewbench.benchmark.pipeline import reproduction
from fewbench.benchmark.pipeline.reading import read_pipeline
from fewbench.benchmark.pipeline.running import Call
from fewbench.benchmark.pipeline.stages import Pipeline


@pytest.fixture
def read(tiny: str, tmp_path: Path):
    """A function that makes a pipeline of text."""

    def make(text: str, weights: str | None = None) -> Pipeline:
        (tmp_path / "p.toml").write_text(f'dataset = "{tiny}"\n{text}', encoding="utf-8")
        return read_pipeline(tmp_path / "p.toml", "protonet", weights)

    return make


@pytest.fixture
def call(tmp_path: Path, listener) -> Call:
    return Call(tmp_path / "results", listener, "cpu")


REPRODUCTION = """
dataset = "{dataset}"

[published]
summary = "ProtoNet on noise"
source = "nobody"
budget = "a second"
differs = "all of it."

[train]
method = "protonet"
ways = 4
queries = 3
steps = {steps}
halve-every = 2
validate-every = 2
val-episodes = 20
precision = "fp32"
[train.set]
"backbone.width" = 8

[[run]]
ways = 5
shots = 1
queries = 5
episodes = 60
published = 40.0
interval = 3.0

[[run]]
ways = 5
shots = 2
queries = 5
episodes = 60
"""


@pytest.fixture
def reproductions(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for reproductions, with one that takes a second: `quick`."""
    folder = tmp_path / "reproductions"
    folder.mkdir()
    (folder / "quick.toml").write_text(REPRODUCTION.format(dataset=tiny, steps=4), encoding="utf-8")
    monkeypatch.setattr(reproduction, "FOLDER", folder)
    return folder
