"""Names to classes. Built-ins are the table below; plug-ins come by entry point or as `path/to/file.py:Class`.

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
import sysconfig
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from ..core.errors import UsageError, UserError, did_you_mean
from ..core.files import regular_file
from ..core.options import Parameter, build, parameters_of, shown
from . import plugin_errors

BUILT_IN: dict[str, dict[str, str]] = {
    "methods": {
        "anil": "fewbench.methods.adaptation.anil:ANIL",
        "baseline": "fewbench.methods.linear.baseline:Baseline",
        "baseline++": "fewbench.methods.linear.baseline_plus_plus:BaselinePlusPlus",
        "chance": "fewbench.methods.chance:Chance",
        "clip-adapter": "fewbench.methods.vision_language.clip_adapter:ClipAdapter",
        "clip-zero-shot": "fewbench.methods.vision_language.clip_zero_shot:ClipZeroShot",
        "coop": "fewbench.methods.vision_language.coop:CoOp",
        "feat": "fewbench.methods.metric.feat:Feat",
        "finetune": "fewbench.methods.adaptation.finetune:Finetune",
        "fomaml": "fewbench.methods.adaptation.fomaml:FirstOrderMAML",
        "learn2learn:MAML": "fewbench.methods.adaptation.learn2learn_adapter:Learn2LearnMAML",
        "learn2learn:MetaSGD": "fewbench.methods.adaptation.learn2learn_adapter:Learn2LearnMetaSGD",
        "linear-probe": "fewbench.methods.linear.linear_probe:LinearProbe",
        "maml": "fewbench.methods.adaptation.maml:MAML",
        "matching-net": "fewbench.methods.metric.matching_net:MatchingNet",
        "meta-baseline": "fewbench.methods.metric.meta_baseline:MetaBaseline",
        "meta-opt-net": "fewbench.methods.linear.meta_opt_net:MetaOptNet",
        "meta-sgd": "fewbench.methods.adaptation.meta_sgd:MetaSGD",
        "pmf": "fewbench.methods.adaptation.pmf:PMF",
        "proto+text": "fewbench.methods.vision_language.proto_text:ProtoText",
        "protonet": "fewbench.methods.metric.protonet:ProtoNet",
        "r2d2": "fewbench.methods.linear.r2d2:R2D2",
        "relation-net": "fewbench.methods.metric.relation_net:RelationNet",
        "reptile": "fewbench.methods.adaptation.reptile:Reptile",
        "ridge": "fewbench.methods.linear.ridge:Ridge",
        "simpleshot": "fewbench.methods.metric.simpleshot:SimpleShot",
        "sklearn:NAME": "fewbench.methods.linear.scikit_learn:ScikitLearnMethod",
        "tip-adapter": "fewbench.methods.vision_language.tip_adapter:TipAdapter",
        "tip-adapter-f": "fewbench.methods.vision_language.tip_adapter_f:TipAdapterF",
    },
    "datasets": {
        "cifar-fs": "fewbench.tasks.datasets.cifar_fs:CifarFs",
        "cub-200": "fewbench.tasks.datasets.cub_200:Cub200",
        "fc100": "fewbench.tasks.datasets.fc100:Fc100",
        "folder": "fewbench.tasks.datasets.folder:Folder",
        "mini-imagenet": "fewbench.tasks.datasets.mini_imagenet:MiniImageNet",
        "omniglot": "fewbench.tasks.datasets.omniglot:Omniglot",
        "tiered-imagenet": "fewbench.tasks.datasets.tiered_imagenet:TieredImageNet",
        "trifeature": "fewbench.tasks.datasets.trifeature:Trifeature",
    },
    "backbones": {
        "clip-tiny": "fewbench.benchmark.backbones.clip_tiny:ClipTiny",
        "conv4": "fewbench.benchmark.backbones.conv4:Conv4",
        "efficientnet-lite0": "fewbench.benchmark.backbones.efficientnet_lite:EfficientNetLite0",
        "efficientnet-lite2": "fewbench.benchmark.backbones.efficientnet_lite:EfficientNetLite2",
        "imported:NAME": "fewbench.benchmark.features.imported_backbone:ImportedBackbone",
        "open_clip:NAME": "fewbench.benchmark.backbones.open_clip_backbone:OpenClipBackbone",
        "relation-encoder": "fewbench.benchmark.backbones.relation_encoder:RelationEncoder",
        "resnet12": "fewbench.benchmark.backbones.resnet12:ResNet12",
        "timm:NAME": "fewbench.benchmark.backbones.timm_backbone:TimmBackbone",  # whatever NAME is
        "vit": "fewbench.benchmark.backbones.vit:ViT",
        "wrn-28-10": "fewbench.benchmark.backbones.wide_resnet:WideResNet",
    },
    "samplers": {
        "imbalanced": "fewbench.tasks.imbalanced:ImbalancedSampler",
        "meta-dataset": "fewbench.tasks.samplers:MetaDatasetSampler",
        "semantic": "fewbench.benchmark.evaluation.semantic_sampler:SemanticSampler",
        "uniform": "fewbench.tasks.samplers:UniformSampler",
    },
}
BASES = {
    "methods": "fewbench.methods.base:Method",
    "datasets": "fewbench.tasks.datasets.base:Dataset",
    "backbones": "fewbench.benchmark.backbones.base:Backbone",
    "samplers": "fewbench.tasks.samplers:Sampler",
}

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
    """Every registered name of a kind, sorted. A built-in name cannot be taken over by a plug-in."""
    found = {}
    for point in _points(f"fewbench.{kind}", tuple(sys.path)):
        origin = point.dist.name if point.dist else "an unknown distribution"
        found[point.name] = Entry(kind, point.name, point.value, origin)
    found.update({name: Entry(kind, name, target, "fewbench") for name, target in BUILT_IN[kind].items()})
    return dict(sorted(found.items()))


@cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group. A search reads every installed package's metadata, and a run looks up a dozen names."""
    return tuple(entry_points(group=group))


def find(kind: str, name: str) -> Entry:
    """The entry of a registered name, of a member of a family (`timm:NAME`), or of a `file.py:Class`.

    Raises:
        UsageError: nothing is registered under that name, or the file does not exist.
    """
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
            return _import_file(Path(module_name))
        if entry.origin != "fewbench" and (found := importlib.util.find_spec(module_name)) and found.origin:
            plugin_errors.FOLDERS.add(Path(found.origin).parent)
        return importlib.import_module(module_name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # A plug-in is somebody else's code: any error that it raises while importing becomes one line.
        raise UserError(f"{entry.singular} {label} does not import: {plugin_errors.told(error)}") from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    plugin_errors.FOLDERS.add(path.parent)
    source = regular_file(path).read_bytes()
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
        sha.update(_bare(Path(file).read_bytes()) if file else name.encode())
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
        return not plugin_errors.INSTALLED.intersection(place.relative_to(folder).parts)

    return below


def _place(module: ModuleType | None) -> Path | None:
    """The folder of a module's file; None where it has no file."""
    file = getattr(module, "__file__", None)
    found = Path(file).parent if file else next(iter(getattr(module, "__path__", ())), None)
    return None if found is None else Path(found).resolve()
