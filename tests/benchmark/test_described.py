import inspect
import subprocess
import sys

import pytest

from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.described import described
from fewbench.benchmark.registry import find, load
from fewbench.core.options import parameters_of

METHODS = BUILT_IN["methods"]
WITHOUT_TORCH = """
import sys

sys.modules["torch"] = None  # as if it were not installed
from fewbench.benchmark.commands.main import main

main()
"""


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("learn2learn")])
def test_a_method_is_described_as_its_class_is(name: str):
    read, imported = described(METHODS[name]), load(find("methods", name))
    assert parameters_of(read) == parameters_of(imported)
    assert inspect.getdoc(read) == inspect.getdoc(imported)
    for label in ("citation", "version", "inputs", "open_parameters", "transductive"):
        assert getattr(read, label) == getattr(imported, label)


@pytest.mark.parametrize("words", [["show", "protonet"], ["show", "maml"], ["env"], ["list", "methods"]], ids=" ".join)
def test_commands_that_need_no_torch(words: list[str]):
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"show": "citation: ", "env": "torch         does not import", "list": "protonet"}[words[0]] in done.stdout


def test_an_unknown_class_is_a_key_error():
    with pytest.raises(KeyError, match="Nothing"):
        described("fewbench.methods.metric.protonet:Nothing")
