"""The wheel holds every module and the embedded data, and nothing that could shadow a plug-in's own folders."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "benchmark", "methods", "tasks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PUBLISHED = "results/published.csv"
DATA = ("*.safetensors", "*.json", "*.csv", "*.toml", "*.txt.gz", "*.html", "*.css", "*.js", "WORDNET_LICENSE")


def needed_setuptools() -> int:
    """The release of setuptools that pyproject.toml asks for."""
    (requirement,) = PROJECT["build-system"]["requires"]
    found = re.fullmatch(r"setuptools>=(\d+)", requirement)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the tree."""
    try:
        found = int(version("setuptools").split(".")[0])
    except PackageNotFoundError:
        found = 0
    if found < needed_setuptools():
        pytest.skip(f"building needs setuptools {needed_setuptools()} or newer, here is {found or 'none'}")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / PUBLISHED).parent.mkdir()
    shutil.copy(ROOT / PUBLISHED, tree / PUBLISHED)
    for stray in ("methods/notes.txt", "tests/test_x.py", "results/records/x.json"):
        (tree / stray).parent.mkdir(parents=True, exist_ok=True)
        (tree / stray).touch()
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return zipfile.ZipFile(path)


def of_tree(*patterns: str) -> set[str]:
    paths = {path for folder in FOLDERS for pattern in patterns for path in (ROOT / folder).rglob(pattern)}
    names = {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}
    return {f"fewbench/{name}" for name in (*names, *((PUBLISHED,) if "*.csv" in patterns else ()))}


def test_every_module_and_all_data_are_in_it(wheel: zipfile.ZipFile):
    inside = {name for name in wheel.namelist() if name.startswith("fewbench/")}
    expected = of_tree("*.py", *DATA)
    assert {"fewbench/benchmark/commands/main.py", "fewbench/methods/metric/protonet.py"} <= expected
    assert "fewbench/tasks/datasets/lists/WORDNET_LICENSE" in expected
    assert expected - inside == set()
    assert inside - expected == set()


def test_the_data_are_the_trees_byte_for_byte(wheel: zipfile.ZipFile):
    for name in of_tree(*DATA):
        assert wheel.read(name) == (ROOT / name.removeprefix("fewbench/")).read_bytes(), name


def test_weights_and_class_lists_come_with_it(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    assert "fewbench/benchmark/backbones/weights/shipped/conv4-trifeature.safetensors" in names
    assert wheel.getinfo("fewbench/benchmark/backbones/weights/shipped/conv4-trifeature.safetensors").file_size < 1_000_000


def test_nothing_but_fewbench_is_at_the_top(wheel: zipfile.ZipFile):
    top = {name.split("/")[0] for name in wheel.namelist()}
    (information,) = (name for name in top if name.endswith(".dist-info"))
    assert top == {"fewbench", information}
    assert "fewbench/__init__.py" not in wheel.namelist()  # it would keep the three folders from being separate
    directly = {name.split("/")[1] for name in wheel.namelist() if name.startswith("fewbench/")}
    assert directly == {*FOLDERS, "results"}


def test_the_metadata_say_what_is_needed(wheel: zipfile.ZipFile):
    (information,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "bench = fewbench.benchmark.commands.main:main" in wheel.read(f"{information}/entry_points.txt").decode()
    metadata = wheel.read(f"{information}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.11" in metadata
    licences = {name.split("/licenses/")[1] for name in wheel.namelist() if "/licenses/" in name}
    assert {"LICENSE", "tasks/datasets/lists/WORDNET_LICENSE"} <= licences


def test_every_subpackage_is_listed():
    """Setuptools takes the packages that pyproject.toml names, so a new folder must be added there."""
    folders = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts}
    found = {"fewbench." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert {*found, "fewbench.results"} == set(PROJECT["tool"]["setuptools"]["packages"])
