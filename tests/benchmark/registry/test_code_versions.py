import importlib
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from fewbench.core.code_versions import code_of
from fewbench.methods.metric.protonet import ProtoNet

from .conftest import GOOD, load, source


def test_the_hash_of_code_follows_the_source(tmp_path: Path):
    before = code_of(load("methods", f"{source(tmp_path / 'one.py')}:Guess"))
    assert code_of(load("methods", f"{source(tmp_path / 'two.py')}:Guess")) == before
    told = GOOD.replace("return", "# told\n            return") + '\n    def more():\n        """Told."""\n        return 1\n'
    more = [told, told.replace('"""Told."""', '"""Told\n\n        otherwise."""').replace("# told", "# why")]
    hashes = [code_of(load("methods", f"{source(tmp_path / f'{n}.py', text)}:Guess")) for n, text in enumerate(more)]
    assert hashes[0] == hashes[1] != before and before.startswith("sha256 ")


def test_the_hash_of_code_covers_the_modules_of_the_same_package(site: Path):
    hashes = []
    for scale in (1, 2):
        package = f"scaled_{scale}"
        source(site / package / "__init__.py", "")
        source(site / package / "help.py", f"def scale(x):\n    return {scale} * x")
        source(site / package / "unused.py", f"x = {scale}")
        source(site / package / "guess.py", f"from .help import scale\n{dedent(GOOD)}")
        importlib.invalidate_caches()
        hashes.append(code_of(importlib.import_module(f"{package}.guess").Guess))
    source(site / "scaled_1" / "unused.py", "x = 3")
    assert code_of(sys.modules["scaled_1.guess"].Guess) == hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("helper", "imported"),
    [
        ("helper_value.py", "from helper_value import scale"),
        ("helper_module.py", "import helper_module"),
        ("helpers_inside/scaling.py", "from helpers_inside.scaling import scale"),
        ("helpers_bare/scaling.py", "import helpers_bare.scaling"),
    ],
)
def test_the_hash_of_code_of_a_file_covers_what_it_uses_beside_and_below_it(site: Path, helper: str, imported: str):
    source(site / helper, "from further import shift\ndef scale(x):\n    return 2 * x")
    source(site / "further.py", "def shift(x):\n    return x + 1")
    importlib.invalidate_caches()
    cls = load("methods", f"{source(site / 'guess.py', imported + chr(10) + dedent(GOOD))}:Guess")
    hashes = [code_of(cls)]
    for changed in (helper, "further.py"):
        (site / changed).write_text((site / changed).read_text() + "\nchanged = 1\n")
        hashes.append(code_of(cls))
    assert len(set(hashes)) == 3
    del sys.modules["further"]


@pytest.mark.parametrize("place", ["../elsewhere", "venv/lib/site-packages"])
def test_the_hash_of_code_of_a_file_leaves_out_what_is_installed_or_elsewhere(
    site: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    name = f"foreign_{len(place)}"
    module = source(site / place / f"{name}.py", "def scale(x):\n    return 2 * x")
    monkeypatch.syspath_prepend(str(module.parent))
    cls = load("methods", f"{source(site / 'guess.py', f'from {name} import scale{chr(10)}{dedent(GOOD)}')}:Guess")
    before = code_of(cls)
    module.write_text("def scale(x):\n    return 3 * x")
    assert code_of(cls) == before


def test_built_in_classes_are_known_by_the_version_that_they_declare(monkeypatch: pytest.MonkeyPatch):
    assert code_of(ProtoNet) == "version 1"
    monkeypatch.setattr(ProtoNet, "version", "2")
    assert code_of(ProtoNet) == "version 2"


CELL = '''
from functools import cached_property
BRIGHT = 5
def shade(x):
    """Told."""
    return x + BRIGHT
class Base:
    share = 2.0
    @staticmethod
    def base(x):
        return x * 3
class Cell(Base):
    """Told."""
    @property
    def one(self):
        return [shade(x) for x in (1, 2)]
    @cached_property
    def two(self, at=7):
        return at
'''
CHANGES = {
    "BRIGHT = 5": "BRIGHT = 6",
    "x + BRIGHT": "x - BRIGHT",
    "share = 2.0": "share = 2.5",
    "x * 3": "x * 4",
    "(1, 2)": "(1, 9)",
    "at=7": "at=8",
    "return at": "return -at",
}


def cell(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version of a class that no file holds, as in a notebook."""
    module = ModuleType("cell")
    monkeypatch.setitem(sys.modules, "cell", module)
    exec(compile(text, "<cell>", "exec"), vars(module))
    return code_of(module.Cell)


def test_the_hash_of_a_class_of_a_notebook_follows_what_it_does(monkeypatch: pytest.MonkeyPatch):
    before = cell(CELL, monkeypatch)
    assert cell(f"# a remark\n\nunused = 1\n{CELL.replace('Told', 'Told otherwise')}", monkeypatch) == before
    changed = [CELL.replace(then, now) for then, now in CHANGES.items()]
    assert len({before, *(cell(text, monkeypatch) for text in changed)}) == 1 + len(CHANGES)
