"""A plug-in as a file, and a folder of installed packages."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from fewbench.benchmark import registry

GOOD = """
    from dataclasses import dataclass
    from fewbench.methods.base import Method, parameter

    @dataclass(frozen=True)
    class Guess(Method):
        '''Every class scores alike.'''

        value: float = parameter(0.0, "the score")

        def classify(self, episodes):
            return episodes.query.new_full((len(episodes), episodes.query.shape[1], episodes.ways), self.value)
"""


def source(path: Path, text: str = GOOD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def load(kind: str, name: str) -> type:
    return registry.load(registry.find(kind, name))


def one_line(caught: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of installed packages, the first on the path; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
