import inspect
import sys
from pathlib import Path

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN, META_TRAINED
from fewbench.core.errors import UsageError, UserError
from fewbench.methods.base import Method

from .conftest import GOOD, load, one_line, source


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


def test_methods_that_papers_train_on_episodes_are_known_without_importing_them():
    found = {name for name in BUILT_IN["methods"] if registry.load(registry.find("methods", name)).meta_trained}
    assert found == META_TRAINED
