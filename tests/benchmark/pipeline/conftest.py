from pathlib import Path

import pytest

from fewbench.benchmark.pipeline.running import Call
from fewbench.benchmark.pipeline.stages import Pipeline, read_pipeline
from fewbench.tasks.progress import SILENT


class Told:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.verbose, self.lines, self.bars = False, [], []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def track(self, description: str, total: int, unit: str = ""):
        self.bars.append(description)
        return SILENT.track(description, total)


@pytest.fixture
def read(tiny: str, tmp_path: Path):
    """A function that makes a pipeline of text."""

    def make(text: str, weights: str | None = None) -> Pipeline:
        (tmp_path / "p.toml").write_text(f'dataset = "{tiny}"\n{text}', encoding="utf-8")
        return read_pipeline(tmp_path / "p.toml", "protonet", weights)

    return make


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(tmp_path / "results", Told(), "cpu")


@pytest.fixture
def told() -> type[Told]:
    """For another call, a progress of its own."""
    return Told
