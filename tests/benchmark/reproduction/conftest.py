from pathlib import Path

import pytest

from fewbench.benchmark.reproduction import recipe

TEXT = """
summary = "ProtoNet on noise"
source = "nobody"
budget = "a second"
differs = "all of it."

[train]
method = "protonet"
dataset = "{dataset}"
ways = 4
queries = 3
steps = {steps}
halve-every = 2
validate-every = 2
val-episodes = 20
precision = "fp32"
[train.set]
"backbone.width" = 8

[[evaluation]]
ways = 5
shots = 1
queries = 5
episodes = 60
published = 40.0
interval = 3.0

[[evaluation]]
ways = 5
shots = 2
queries = 5
episodes = 60
"""


@pytest.fixture
def recipes(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for recipes, with one that takes a second: `quick`."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "quick.toml").write_text(TEXT.format(dataset=tiny, steps=4), encoding="utf-8")
    monkeypatch.setattr(recipe, "FOLDER", folder)
    return folder
