"""Names to classes. Built-ins are in a table (built_in.py); plug-ins come by entry point or as `path/to/file.py:Class`.

Nothing here imports a method, dataset, backbone or sampler before it is used, so a broken plug-in disturbs nobody else.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from ..core.cache import kept_names
from ..core.errors import UsageError, UserError, did_you_mean
from ..core.files import regular_file
from ..core.options import Parameter, build, parameters_of, shown
from . import plugin_errors
from .built_in import BASES, BUILT_IN, NAMED, YOURS
from .described import described

GIVEN: dict[tuple[str, str], type] = {}  # classes of the running program, by kind and name

# Containers that a class of a plug-in may declare, by the declared one.
CONTAINERS: dict[Any, Any] = {Mapping: Mapping, tuple: (tuple, list), frozenset: (frozenset, set)}


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes:
        kind: methods, datasets, backbones or samplers.
        name: what the user writes.
        target: `module:Class`.
        origin: "fewbench", the distribution of an entry point, or the file of a plug-in.
    """

    kind: str
    name: str
    target: str
    origin: str

    @property
    def singular(self) -> str:
        """The kind as a message names one of it."""
        return self.kind.removesuffix("s")


def entries(kind: str) -> dict[str, Entry]:
    """Every registered name of a kind, sorted. A built-in name cannot be taken over by a plug-in, nor by a user's photos."""
    named = kept_names("photos") if kind == "datasets" else ()
    found = {name: Entry(kind, name, NAMED, YOURS) for name in named}
    for point in _points(f"fewbench.{kind}", tuple(sys.path)):
        origin = point.dist.name if point.dist else "an unknown distribution"
        found[point.name] = Entry(kind, point.name, point.value, origin)
    found.update({name: Entry(kind, name, target, "fewbench") for name, target in BUILT_IN[kind].items()})
    return dict(sorted(found.items()))


def give(kind: str, name: str, cls: type) -> str:
    """Register a class for this program alone, in place of an earlier one of that name, and return the name.

    Raises:
        UsageError: another class has that name.
    """
    entry = None if name.endswith(":NAME") else (entries(kind).get(name) or entries(kind).get(_family(name)))
    if entry is None:
        GIVEN[kind, name] = cls
    elif not issubclass(cls, load(entry)):
        raise UsageError(f"{kind.removesuffix('s')} {name}: one of {entry.origin} is called so; give another name")
    return name


@cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group. A search reads every installed package's metadata, and a run looks up a dozen names."""
    return tuple(entry_points(group=group))


def find(kind: str, name: str) -> Entry:
    """The entry of a registered name, of a member of a family (`timm:NAME`), or of a `file.py:Class`.

    Raises:
        UsageError: nothing is registered under that name, or the file does not exist.
    """
    if (kind, name) in GIVEN:
        return Entry(kind, name, "", "fewbench")
    path, colon, class_name = name.rpartition(":")
    if colon and path.endswith(".py"):
        if not Path(path).is_file():
            raise UsageError(f"{kind.removesuffix('s')} {name}: file {path} does not exist")
        return Entry(kind, f"{Path(path).name}:{class_name}", name, Path(path).name)
    if name.endswith(".py"):
        raise UsageError(f"{kind.removesuffix('s')} {name}: name the class in the file too, as {name}:Class")
    known = entries(kind)
    if _family(name) in known:
        return replace(known[_family(name)], name=name)
    if name not in known:
        raise UsageError(
            f"unknown {kind.removesuffix('s')} '{name}'; {did_you_mean(name, known)} (bench list {kind}, or FILE.py:Class)"
        )
    return known[name]


def all_frozen() -> list[str]:
    """Names, sorted, of the built-in methods that need features alone, of episodes or train classes: no training, no text."""
    found = {name: load(find("methods", name)) for name in sorted(BUILT_IN["methods"]) if not name.endswith(":NAME")}
    asks = ("needs_training", "uses_class_names", "uses_text", "uses_text_tower")
    return [
        name
        for name, cls in found.items()
        if cls.inputs == "features"
        and not any(getattr(cls, ask) for ask in asks)
        and cls().inputs_with(cls.default_tune if cls.adapts else "none") == "features"
    ]


def knows(kind: str, name: str) -> bool:
    """Whether a name is registered, or belongs to a registered family."""
    return name in entries(kind) or _family(name) in entries(kind)


def _family(name: str) -> str:
    """The registered name of the family of `name`, such as `timm:NAME`; "" for a name without a colon."""
    family, colon, _ = name.partition(":")
    return f"{family}:NAME" if colon else ""


def load(entry: Entry) -> type:
    """Import the class of an entry.

    Raises:
        UserError: the module does not import; the line names the distribution or file.
        UsageError: the module has no such class, or the class is not a complete subclass of the kind's base class.
    """
    if not entry.target:
        return GIVEN[entry.kind, entry.name]
    module_name, _, class_name = entry.target.rpartition(":")
    told = entry.origin == "fewbench" or entry.name.startswith(f"{entry.origin}:")
    label = entry.name if told else f"{entry.name} (from {entry.origin})"
    module = _import(entry, module_name, label)
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [
            name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise UsageError(f"{entry.singular} {label}: no class '{class_name}' in it; {did_you_mean(class_name, classes)}")
    base_module, _, base_name = BASES[entry.kind].partition(":")
    base = getattr(importlib.import_module(base_module), base_name)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UsageError(f"{entry.singular} {label}: {class_name} is not a subclass of {base_module}.{base_name}")
    if inspect.isabstract(cls):
        raise UsageError(f"{entry.singular} {label}: {class_name} does not define {', '.join(sorted(cls.__abstractmethods__))}")
    if entry.origin != "fewbench":
        _check_declared(cls, base, f"{entry.singular} {label}")
    return cls


def declared(entry: Entry) -> type:
    """The class of an entry for its parameters and attributes: a built-in method's from its source, without torch.

    Raises:
        UserError, UsageError: as `load` does.
    """
    return described(entry.target) if entry.kind == "methods" and entry.origin == "fewbench" else load(entry)


def _check_declared(cls: type, base: type, owner: str) -> None:
    """Check what the class of a plug-in declares: the attributes of its base class, and its parameters.

    Raises:
        UsageError: an attribute is missing or of another type, or a parameter has a type that nobody can read or a default that
            no record can hold.
    """
    for name, kind in typing.get_type_hints(base).items():
        value = getattr(cls, name, "missing")
        if typing.get_origin(kind) is ClassVar and not isinstance(value, property):
            (kind,) = typing.get_args(kind)
            said = Parameter(name, kind, None, "")
            container = CONTAINERS.get(typing.get_origin(kind))
            if said.fault(value) or (container and not isinstance(value, container)):
                raise UsageError(f"{owner}: {cls.__name__}.{name} is {shown(value)}; expected {said.words()}")
    try:
        parameters = parameters_of(cls)
    except Exception as error:  # whatever the annotations of somebody else's class hold
        raise UsageError(f"{owner}: the types of its parameters cannot be read: {plugin_errors.told(error)}") from error
    defaults = {one.name: one.default for one in parameters if one.default is not MISSING}
    check_recorded(defaults, owner)
    choices = getattr(cls, "choices", {})
    for name in choices if isinstance(choices, Mapping) else ():
        if name not in defaults or not choices[name]:
            raise UsageError(f"{owner}: choices names '{name}'; expected parameters with a default, and candidates of each")


def check_recorded(parameters: object, owner: str) -> None:
    """Check that a record can hold parameters.

    Raises:
        UsageError: they are not values by name, or a value is not of JSON; the message names the first one.
    """
    if not isinstance(parameters, Mapping):
        raise UsageError(f"{owner}: its parameters are of type {type(parameters).__name__}; expected values by name")
    for name, value in parameters.items():
        try:
            json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
        except (RecursionError, TypeError, ValueError) as error:
            kind = type(value).__name__
            raise UsageError(
                f"{owner}: parameter {name}={shown(value)} is of type {kind}, which a record cannot hold; expected finite "
                "numbers, text, true or false, none, or lists of these"
            ) from error


def make(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """Make the method, dataset or backbone of a name, with its parameters.

    Args:
        kind: methods, datasets or backbones.
        name: as in `find`.
        settings: parameters, text or typed.

    Raises:
        UsageError: as `find` and `load` do; an unknown parameter or a value of the wrong type.
        UserError: as `load` does.
    """
    entry = find(kind, name)
    cls, owner = load(entry), f"{entry.singular} {name}"
    try:
        made = cls.from_name(name, settings) if hasattr(cls, "from_name") else build(cls, settings, owner)
    except TypeError as error:
        if entry.origin == "fewbench" or plugin_errors.frames_of(error):
            raise
        raise UserError(f"{owner} cannot be made of its parameters: {plugin_errors.told(error)}") from error
    if entry.origin != "fewbench":
        changed = getattr(made, "changed", ())
        if not isinstance(changed, list | tuple) or not all(isinstance(one, str) for one in changed):
            raise UserError(f"{owner}: changed is {shown(changed)}; expected names of parameters")
        check_recorded(made.recorded_parameters() if kind == "datasets" else made.parameters, owner)
    return made


def _import(entry: Entry, module_name: str, label: str) -> ModuleType:
    try:
        if module_name.endswith(".py"):
            path = Path(module_name).resolve()
            return import_source(path, regular_file(path).read_bytes())
        if entry.origin != "fewbench" and (found := importlib.util.find_spec(module_name)) and found.origin:
            plugin_errors.FOLDERS.add(Path(found.origin).parent)
        return importlib.import_module(module_name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # A plug-in is somebody else's code: any error that it raises while importing becomes one line.
        raise UserError(f"{entry.singular} {label} does not import: {plugin_errors.told(error)}") from error


def import_source(path: Path, source: bytes) -> ModuleType:
    """Import a plug-in's file from its content. The path is absolute; a file that came from another machine is not at it."""
    plugin_errors.FOLDERS.add(path.parent)
    # The source is in the name: a file that changed meanwhile (in a notebook) is another module.
    name = f"fewbench_plugin_{path.stem}_{hashlib.sha256(str(path).encode() + source).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        exec(compile(source, path, "exec"), vars(module))  # the loader might take an older file's bytecode
    except BaseException:
        del sys.modules[name]
        raise
    return module


def summary(entry: Entry) -> str:
    """First line of the class's docstring, read from the source without importing it; "" for plug-ins."""
    if entry.origin != "fewbench":
        return ""
    module_name, _, class_name = entry.target.rpartition(":")
    parts = module_name.removeprefix("fewbench.").split(".")
    source = Path(__file__).parents[1].joinpath(*parts).with_suffix(".py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""
