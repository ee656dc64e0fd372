"""Versions of code: what a record says of the classes that made it, and what an address of trained weights depends on."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from .compiled_code import compiled

INSTALLED = frozenset({"site-packages", "dist-packages"})  # a virtual environment may lie beside a plug-in


def code_of(cls: type) -> str:
    """The version of a class of this package, or a hash of a plug-in's code.

    Returns:
        `version 1`, or `sha256` with the hexadecimal hash.
    """
    if cls.__module__.startswith("fewbench."):
        return f"version {getattr(cls, 'version', '1')}"
    return f"sha256 {_code_sha256(cls)}"


def _code_sha256(cls: type) -> str:
    """Hexadecimal SHA-256 over the code of a plug-in: of a class's module and of the plug-in's other modules that it uses.

    Comments, docstrings and layout do not count. The modules of a plug-in are those of its package or, without a package (a
    `file.py:Class`), those in or below its folder. A module uses another if it holds it, or something defined in it.
    """
    modules, queue = {}, [cls.__module__]
    package = cls.__module__.rpartition(".")[0]
    belongs = _below(sys.modules.get(cls.__module__)) if not package else lambda name: name.startswith(f"{package}.")
    while queue:
        name = queue.pop()
        module = sys.modules.get(name)
        if name in modules or module is None:
            continue
        modules[name] = module
        for value in vars(module).values():
            used = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(used, str) and belongs(used):
                queue.append(used)
    sha = hashlib.sha256()
    for name in sorted(modules):
        module = modules[name]
        file = inspect.getsourcefile(module) if getattr(module, "__file__", None) else None  # folders without __init__.py
        if file and Path(file).is_file():
            sha.update(_bare(Path(file).read_bytes()))
        else:
            sha.update("\n".join([name, *(compiled(cls) if name == cls.__module__ else ())]).encode(errors="surrogatepass"))
    return sha.hexdigest()


def _bare(source: bytes) -> bytes:
    """Python code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.unparse(tree).encode()  # not `ast.dump`, whose text changes from one Python to the next


def _below(module: ModuleType | None) -> Callable[[str], bool]:
    """A test whether a module lies in or below the folder of this one, and is neither installed nor part of fewbench."""
    folder, standard_library = _place(module), Path(sysconfig.get_path("stdlib")).resolve()

    def below(name: str) -> bool:
        place = None if name.partition(".")[0] == "fewbench" else _place(sys.modules.get(name))
        if folder is None or place is None or not place.is_relative_to(folder) or place.is_relative_to(standard_library):
            return False
        return not INSTALLED.intersection(place.relative_to(folder).parts)

    return below


def _place(module: ModuleType | None) -> Path | None:
    """The folder of a module's file; None where it has no file."""
    file = getattr(module, "__file__", None)
    found = Path(file).parent if file else next(iter(getattr(module, "__path__", ())), None)
    return None if found is None else Path(found).resolve()
