"""A built-in class as its source declares it: its method bodies are left out, and torch is not imported."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "fewbench"
LIGHT = "fewbench.core."  # modules that are imported as they are
ROOT = Path(__file__).parents[1]


def described(target: str) -> type:
    """The class with its docstring, parameters and class attributes, without its methods.

    Args:
        target: `module:Class` of this package.

    Raises:
        KeyError: the module has no such class.
    """
    module, _, name = target.partition(":")
    return _names_of(module)[name]


def module_text(target: str) -> str:
    """The docstring of the module of `module:Class`: title, citation and explanation, in paragraphs."""
    return inspect.cleandoc(ast.get_docstring(ast.Module(_names_of(target.partition(":")[0]).body, [])) or "")


@cache
def _names_of(module: str) -> _Names:
    return _Names(module)


class _Names(dict[str, Any]):
    """The names of a module, each evaluated at its first use."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module
        file = ROOT.joinpath(*module.split(".")[1:])
        self.file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        self.body = ast.parse(self.file.read_text(encoding="utf-8")).body

    def __missing__(self, name: str) -> Any:
        for node in self.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                self[name] = self._class(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and name in _assigned(node) and node.value is not None:
                self[name] = self.value(node.value)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        self[name] = self._imported(node, alias.name)
        if name not in self:
            raise KeyError(name)
        return self[name]

    def value(self, expression: ast.expr) -> Any:
        """The value of an expression of this module.

        Raises:
            Exception: whatever its evaluation raises, where it needs more than names of this package.
        """
        return eval(compile(ast.Expression(expression), str(self.file), "eval"), {}, self)

    def _imported(self, node: ast.ImportFrom, name: str) -> Any:
        package = self.module if self.file.name == "__init__.py" else self.module.rpartition(".")[0]
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if module.startswith(f"{PACKAGE}.") and not module.startswith(LIGHT):
            return _names_of(module)[name]
        return getattr(importlib.import_module(module), name)

    def _class(self, node: ast.ClassDef) -> type:
        annotations: dict[str, object] = {}
        content: dict[str, object] = {"__doc__": ast.get_docstring(node, clean=False), "__annotations__": annotations}
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                shared = ast.unparse(statement.annotation).startswith("ClassVar")
                if not shared:
                    annotations[statement.target.id] = self.value(statement.annotation)
                if statement.value is not None:
                    content[statement.target.id] = self.value(statement.value)
            elif isinstance(statement, ast.Assign):
                content.update(dict.fromkeys(_assigned(statement), self.value(statement.value)))
        bases = tuple(self.value(base) for base in node.bases)
        return dataclass(frozen=True)(type(bases[0])(node.name, bases, content))


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name):
            yield target.id
