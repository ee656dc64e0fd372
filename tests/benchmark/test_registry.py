import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN, META_TRAINED
from fewbench.benchmark.code_versions import code_of
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.base import Method
from fewbench.methods.metric.protonet import ProtoNet

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


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names])
def test_every_built_in_name_imports_and_its_summary_is_the_docstrings_first_line(kind: str, name: str):
    entry = registry.find(kind, name)
    cls = registry.load(entry)
    assert registry.summary(entry) == inspect.cleandoc(cls.__doc__ or "").split("\n")[0] != ""
    assert entry.origin == "fewbench"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "methods",
            "protnet",
            "unknown method 'protnet'; did you mean 'protonet'? (bench list methods, or FILE.py:Class)",
        ),
        (
            "methods",
            "ProtoNet",
            "unknown method 'ProtoNet'; did you mean 'protonet'? (bench list methods, or FILE.py:Class)",
        ),
        (
            "datasets",
            "omniglott",
            "unknown dataset 'omniglott'; did you mean 'omniglot'? (bench list datasets, or FILE.py:Class)",
        ),
        (
            "backbones",
            "conv5",
            "unknown backbone 'conv5'; did you mean 'conv4'? (bench list backbones, or FILE.py:Class)",
        ),
        ("methods", "x/y.py", "method x/y.py: name the class in the file too, as x/y.py:Class"),
        (
            "methods",
            "sklearn",
            "unknown method 'sklearn'; did you mean 'sklearn:NAME'? (bench list methods, or FILE.py:Class)",
        ),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_the_list(kind: str, name: str, message: str):
    with pytest.raises(UsageError) as caught:
        registry.find(kind, name)
    assert one_line(caught).startswith(message)


def test_a_file_is_loaded_once_as_itself(tmp_path: Path):
    path = source(tmp_path / "guess.py")
    entry = registry.find("methods", f"{path}:Guess")
    assert (entry.name, entry.origin, entry.singular) == ("guess.py:Guess", "guess.py", "method")
    cls = registry.load(entry)
    assert issubclass(cls, Method)
    assert load("methods", f"{path}:Guess") is cls
    assert registry.summary(entry) == ""
    other = source(tmp_path / "other" / "guess.py")
    assert load("methods", f"{other}:Guess") is not cls


def test_a_file_is_found_from_the_folder_the_user_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source(tmp_path / "guess.py")
    monkeypatch.chdir(tmp_path)
    assert load("methods", "guess.py:Guess").__name__ == "Guess"


def test_a_file_that_changed_is_loaded_anew(tmp_path: Path):
    path = source(tmp_path / "guess.py")
    before = load("methods", f"{path}:Guess")
    source(path, GOOD.replace("0.0", "1.0"))
    assert load("methods", f"{path}:Guess")().value == 1.0  # type: ignore[attr-defined]
    assert before().value == 0.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        (GOOD, "Gues", UsageError, "method bad.py:Gues: no class 'Gues' in it; did you mean 'Guess'?"),
        ("x = 1", "Guess", UsageError, "method bad.py:Guess: no class 'Guess' in it; known: none"),
        ("def Guess(:", "Guess", UserError, "method bad.py:Guess does not import: SyntaxError: "),
        ("import nowhere", "Guess", UserError, "method bad.py:Guess does not import: ModuleNotFoundError: No module named"),
        ("raise RuntimeError('a\\nb')", "Guess", UserError, "method bad.py:Guess does not import: RuntimeError: a b"),
        ("import sys; sys.exit(0)", "Guess", UserError, "method bad.py:Guess does not import: SystemExit: 0"),
        ("class Guess: pass", "Guess", UsageError, "bad.py:Guess: Guess is not a subclass of fewbench.methods.base.Method"),
        ("Guess = 3", "Guess", UsageError, "bad.py:Guess: Guess is not a subclass of fewbench.methods.base.Method"),
        (
            "from fewbench.methods.base import Method\nclass Guess(Method): pass",
            "Guess",
            UsageError,
            "method bad.py:Guess: Guess does not define classify",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, text: str, name: str, error: type[UserError], message: str):
    path, known = source(tmp_path / "bad.py", text), set(sys.modules)
    with pytest.raises(error) as caught:
        load("methods", f"{path}:{name}")
    assert message in one_line(caught)
    assert error is UsageError or set(sys.modules) == known  # what did not import is not half there


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"method .*gone\.py:Guess: file .*gone\.py does not exist") as caught:
        registry.find("methods", f"{tmp_path / 'gone.py'}:Guess")
    one_line(caught)


def test_datasets_and_backbones_come_from_files_too(tmp_path: Path, tiny: str):
    assert load("datasets", tiny).name == "tiny"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"not a subclass of fewbench\.tasks\.datasets\.base\.Dataset"):
        load("datasets", f"{source(tmp_path / 'guess.py')}:Guess")
    with pytest.raises(UsageError, match=r"not a subclass of fewbench\.benchmark\.backbones\.base\.Backbone"):
        load("backbones", f"{tmp_path / 'guess.py'}:Guess")


def distribution(site: Path, name: str, entry_points: str) -> None:
    """A distribution as an installer leaves it."""
    information = site / f"{name.replace('-', '_')}-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(dedent(entry_points))
    (information / "RECORD").write_text("")


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


def test_methods_that_papers_train_on_episodes_are_known_without_importing_them():
    found = {name for name in BUILT_IN["methods"] if registry.load(registry.find("methods", name)).meta_trained}
    assert found == META_TRAINED
