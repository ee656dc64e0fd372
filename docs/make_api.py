"""Writes docs/api.md from the docstrings of what a plug-in or a script may import: python docs/make_api.py."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewbench.core.options import Options, Parameter, parameters_of, shown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
# Chapters of the page: what each is for, and what may be imported from where.
CHAPTERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "Running": (
        "A script asks for runs with these.",
        {"fewbench.benchmark": ("run",), "fewbench.benchmark.config": ("RunConfig",)},
    ),
    "Records": (
        "What a run says.",
        {
            "fewbench.benchmark.records.record": ("RunRecord",),
            "fewbench.benchmark.records.sections": ("Sections",),
            "fewbench.benchmark.records.store": ("load_record", "load_records"),
        },
    ),
    "Methods": (
        "A method of your own is a subclass of `Method`.",
        {
            "fewbench.methods.base": ("Method", "Episodes", "parameter", "class_means", "one_hot"),
            "fewbench.core.options": ("declared",),
        },
    ),
    "Backbones": (
        "A backbone of your own is a subclass of `Backbone`.",
        {"fewbench.benchmark.backbones.base": ("Backbone", "Preprocess")},
    ),
    "Datasets": (
        "A dataset of your own is a subclass of `Dataset`.",
        {"fewbench.tasks.datasets.base": ("Dataset",), "fewbench.tasks.datasets.split": ("Split",)},
    ),
    "Samplers": (
        "A sampler of your own is a subclass of `Sampler`.",
        {"fewbench.tasks.samplers": ("Sampler",), "fewbench.tasks.episodes": ("EpisodeBatch",)},
    ),
}
HEAD = """# What may be imported

A script or a plug-in imports what is listed here. All else is the inside of the package, and may move.

The page is made from docstrings: `python docs/make_api.py` writes it, and a test compares."""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, (purpose, modules) in CHAPTERS.items():
        parts.append(f"## {title}\n\n{purpose}")
        for module, names in modules.items():
            parts += [_entry(module, name) for name in names]
    return "\n\n".join(parts) + "\n"


def _entry(module: str, name: str) -> str:
    """The part about one class or function."""
    thing = getattr(importlib.import_module(module), name)
    home = importlib.import_module(thing.__module__)
    file = thing.__module__.removeprefix("fewbench.").replace(".", "/") + (
        "/__init__.py" if hasattr(home, "__path__") else ".py"
    )
    lines = [f"### {name}", "", f"`from {module} import {name}` ([{file}](../{file}))", ""]
    if not inspect.isclass(thing):
        return "\n".join([*lines, f"`{_call(thing)}`", "", *_markdown(thing)])
    lines += _markdown(thing)
    if issubclass(thing, Options):
        lines += ["", *_table(parameters_of(thing))]
    for member, value in vars(thing).items():
        if not member.startswith("_") and (described := _member(member, value)):
            lines += ["", described]
    return "\n".join(lines)


def _member(name: str, value: Any) -> str:
    """One method or property of a class; "" for what is neither, or has no docstring."""
    function = getattr(value, "fget", None) or getattr(value, "__func__", None) or getattr(value, "func", None) or value
    if not inspect.isfunction(function) or not function.__doc__:
        return ""
    mark = ", which a subclass defines" if getattr(function, "__isabstractmethod__", False) else ""
    mark = ", a class method" if isinstance(value, classmethod) else mark
    call = _call(function) if inspect.isfunction(value) or isinstance(value, classmethod) else name
    return "\n".join([f"#### `{call}`{mark}", "", *_markdown(function)])


def _call(function: Any) -> str:
    """Such as `build(channels, size)`, types left to the code."""
    arguments = [
        one.name if one.default is one.empty else f"{one.name}={_default(one.default)}"
        for one in inspect.signature(function).parameters.values()
        if one.name not in ("self", "cls") and one.kind is not one.VAR_KEYWORD
    ]
    return f"{function.__name__}({', '.join(arguments)})"


def _default(value: Any) -> str:
    return "…" if dataclasses.is_dataclass(value) or " at 0x" in repr(value) else repr(value)


def _given(option: Parameter) -> str:
    """The default as a table shows it."""
    return "" if option.default is dataclasses.MISSING else shown(option.default)


def _table(options: list[Parameter]) -> list[str]:
    rows = [(one.name, one.type_name, _given(one), one.help) for one in options]
    cells = [[f"`{name}`", f"`{kind}`", f"`{default}`" if default else "", help] for name, kind, default, help in rows]
    escaped = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells]
    return ["| option | type | default | meaning |", "| --- | --- | --- | --- |", *(f"| {row} |" for row in escaped)]


def _markdown(thing: Any) -> Iterator[str]:
    """The lines of a docstring, its sections as lists."""
    section = ""
    for line in inspect.cleandoc(thing.__doc__).splitlines():
        heading = line.removesuffix(":")
        if line.endswith(":") and heading in SECTIONS:
            section = heading
            yield f"*{section}*"
            yield ""
        elif not section or not line.strip():
            yield line
        elif re.match(r" {4}\S", line):
            name, colon, text = line.strip().partition(": ")
            named = colon and section in ("Args", "Attributes", "Raises")
            yield f"- `{name}`: {text}" if named else f"- {line.strip()}" if section == "Raises" else line.strip()
        else:
            yield f"  {line.strip()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
