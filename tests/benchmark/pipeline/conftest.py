from pathlib import Path

import pytest

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
