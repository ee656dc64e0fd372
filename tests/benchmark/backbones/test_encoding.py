from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark.backbones import encoding
from fewbench.benchmark.backbones.loading import load_backbone
from fewbench.tasks.progress import SILENT, SilentProgress

CPU = torch.device("cpu")


class Steps(SilentProgress):
    """Counts what it is told."""

    @contextmanager
    def track(self, description: str, total: int):
        self.description, self.total, self.steps = description, total, []
        yield self.steps.append


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(70, 16, 16, 3), dtype=np.uint8)


def test_features_do_not_depend_on_the_batch_an_image_is_in(images: np.ndarray, tiny_weights: Path, monkeypatch):
    backbone = load_backbone("conv4", {}, tiny_weights)
    found = []
    for size in (32, 7, 70):
        monkeypatch.setitem(encoding.BATCH, "cpu", size)
        out = np.full((70, backbone.feature_dim), np.nan, np.float32)
        encoding.encode(backbone, images, out, CPU, SILENT, "")
        found.append(out)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4, atol=1e-5)
    assert found[0].std(axis=0).min() > 0


def test_progress_counts_every_image(images: np.ndarray, tiny_weights: Path):
    backbone, steps = load_backbone("conv4", {}, tiny_weights), Steps()
    encoding.encode(backbone, images, np.empty((70, backbone.feature_dim), np.float32), CPU, steps, "encoding it")
    assert (steps.description, steps.total, sum(steps.steps)) == ("encoding it", 70, 70)
    assert len(steps.steps) > 1
