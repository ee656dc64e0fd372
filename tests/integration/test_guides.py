"""docs/architecture.md, docs/api.md and docs/options.md say what the code is."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\[`([^`]+)`\]\(\.\./([^)]+)\)", ARCHITECTURE)


def defined(file: Path) -> set[str]:
    """Functions, classes and `Class.method` of a module."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


@pytest.mark.parametrize(("name", "place"), LINKS, ids=lambda text: text)
def test_what_the_walk_names_is_where_it_points(name: str, place: str):
    path = ROOT / place
    assert path.exists()
    if path.is_file() and name not in (path.name, path.stem):
        assert name in defined(path)


def test_the_tree_is_that_of_the_packages():
    tree = ARCHITECTURE.split("```")[1]
    shown, above = set(), []
    for line in filter(None, tree.splitlines()):
        indent, name = len(line) - len(line.lstrip()), line.split()[0].rstrip("/")
        above = [*above[: indent // 2], name]
        shown.add("/".join(above))
    packages = {
        file.parent.relative_to(ROOT).as_posix()
        for top in ("core", "tasks", "methods", "benchmark")
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert packages and shown == packages | {"results", "results/studies", "tests"}


@pytest.mark.parametrize("name", ["api", "options"])
def test_a_page_that_is_made_from_the_code_is_up_to_date(name: str):
    made = runpy.run_path(str(ROOT / "docs" / f"make_{name}.py"))["page"]()
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == made, f"run python docs/make_{name}.py"
