from dataclasses import dataclass
from pathlib import Path

import pytest

from fewbench.core.cache import Entry


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class About:
    """What the entries of these tests hold."""

    what: str


@pytest.fixture
def entry(tmp_path: Path) -> Entry[About]:
    """An entry of the test's own cache, which is not made yet."""
    return Entry(tmp_path / "cache" / "datasets" / "birds-1" / "val", About)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
