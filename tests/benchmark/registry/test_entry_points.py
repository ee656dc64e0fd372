import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from fewbench.benchmark import registry
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.base import Method
from fewbench.methods.metric.protonet import ProtoNet

from .conftest import GOOD, load, one_line, source


def distribution(site: Path, name: str, entry_points: str) -> None:
    """A distribution as an installer leaves it."""
    information = site / f"{name.replace('-', '_')}-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(dedent(entry_points))
    (information / "RECORD").write_text("")


@pytest.fixture
def plugin(site: Path) -> Callable[[str, str], None]:
    """A function that installs a distribution with the top-level folders `methods` and `tasks`."""

    def install(name: str, entry_points: str) -> None:
        for folder in ("methods", "tasks"):
            source(site / folder / "__init__.py", f"{folder}_of_somebody_else = True")
        source(site / "methods" / "base.py", "secret = 42")
        source(
            site / "methods" / "guess.py", f"from .base import secret\nfrom tasks import tasks_of_somebody_else\n{dedent(GOOD)}"
        )
        source(site / "methods" / "broken.py", "import a_package_that_is_not_installed")
        distribution(site, name, entry_points)

    return install


def test_a_distribution_with_its_own_methods_and_tasks_folders_works(plugin):
    plugin("guess-work", "[fewbench.methods]\nguess = methods.guess:Guess\n")
    entry = registry.entries("methods")["guess"]
    assert entry.origin == "guess-work"
    cls = registry.load(entry)
    assert cls.__module__ == "methods.guess"
    assert issubclass(cls, Method)
    assert load("methods", "protonet") is ProtoNet
    assert importlib.import_module("fewbench.methods.base").Method is Method
    assert not hasattr(importlib.import_module("fewbench.methods.base"), "secret")


def test_a_broken_distribution_is_named_and_stops_nothing_else(plugin):
    plugin(
        "guess-work",
        "[fewbench.methods]\nguess = methods.guess:Guess\nbroken = methods.broken:Guess\nlost = methods.guess:Gess\n",
    )
    assert {"broken", "guess", "lost", "protonet"} <= set(registry.entries("methods"))
    assert registry.summary(registry.entries("methods")["broken"]) == ""
    with pytest.raises(
        UserError, match=r"method broken \(from guess-work\) does not import: ModuleNotFoundError: No mod"
    ) as caught:
        load("methods", "broken")
    one_line(caught)
    with pytest.raises(UsageError, match=r"method lost \(from guess-work\): no class 'Gess' in it; did you mean 'Guess'"):
        load("methods", "lost")
    assert load("methods", "guess").__name__ == "Guess"
    assert load("methods", "protonet") is ProtoNet


@pytest.mark.parametrize("target", ["methods.guess", "methods.guess:", ":Guess", "methods.base:secret", "nowhere:Guess"])
def test_an_entry_point_that_names_no_method_is_one_line(plugin, target: str):
    plugin("guess-work", f"[fewbench.methods]\nodd = {target}\n")
    with pytest.raises(UserError, match=r"method odd \(from guess-work\)") as caught:
        load("methods", "odd")
    one_line(caught)


def test_a_plugin_takes_no_built_in_name(plugin):
    plugin("guess-work", "[fewbench.methods]\nprotonet = methods.guess:Guess\n")
    assert load("methods", "protonet") is ProtoNet


def test_datasets_and_backbones_have_entry_points_too(plugin):
    plugin("guess-work", "[fewbench.datasets]\nthings = methods.guess:Guess\n[fewbench.backbones]\nnet = methods.guess:Guess\n")
    assert "things" in registry.entries("datasets") and "net" in registry.entries("backbones")
    assert "things" not in registry.entries("methods")
    with pytest.raises(UsageError, match=r"dataset things \(from guess-work\): Guess is not a subclass of .*base\.Dataset"):
        load("datasets", "things")


def test_names_are_looked_up_without_importing_anything(plugin):
    plugin("guess-work", "[fewbench.methods]\nguess = methods.guess:Guess\n")
    registry.find("methods", "guess")
    assert "methods.guess" not in sys.modules
