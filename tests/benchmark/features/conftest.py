from pathlib import Path

import pytest

from fewbench.benchmark import registry
from fewbench.core.options import build
from fewbench.tasks.datasets.base import Dataset


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that starts empty, for tests that ask for it; the others share one."""
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dataset(tiny: str) -> Dataset:
    return build(registry.load(registry.find("datasets", tiny)), {}, "dataset tiny")
