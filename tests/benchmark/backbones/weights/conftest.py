"""Small weights that a test may spoil."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from fewbench.benchmark.backbones.weights.checkpoint import (
    Checkpoint,
    read_checkpoint,
)
from fewbench.core.files import sha256_of


@pytest.fixture
def weights(tiny_weights: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copy(tiny_weights, tmp_path)
    return tmp_path / tiny_weights.name


def one_line(caught: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def older(weights: Path) -> Path:
    """The same weights as earlier versions wrote them: the description is a file beside them."""
    checkpoint = described(weights)
    save_file(checkpoint.tensors, weights)
    about = {**json.loads(checkpoint.description.to_json()), "weights_sha256": sha256_of(weights)}  # type: ignore[union-attr]
    weights.with_suffix(".json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return weights


def described(weights: Path) -> Checkpoint:
    checkpoint = read_checkpoint(weights)
    assert checkpoint.description is not None
    return checkpoint
