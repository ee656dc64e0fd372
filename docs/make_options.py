"""Writes docs/options.md from the declarations of options and parameters: python docs/make_options.py."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import typer

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.training.recipes import RECIPES, find_recipe
from fewbench.core.options import parameters_of, shown

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options and parameters

Every command with its options, then every method, backbone, sampler, dataset and recipe with its parameters. `--set NAME=VALUE`
sets a parameter of the method; the others have their kind in front, as in `--set backbone.width=32` or `--set dataset.size=84`.
`bench COMMAND --help` prints the options of a command, and `bench show NAME` all parameters but those of recipes.

The page is made from the declarations in the code: `python docs/make_options.py` writes it, and a test compares."""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Commands", *_commands("bench", typer.main.get_command(app))]
    for kind in BUILT_IN:
        parts.append(f"## {kind.capitalize()}")
        for name in sorted(BUILT_IN[kind]):
            parts.append(_of_class(name, registry.load(registry.find(kind, name)), required=kind != "samplers"))
    parts.append("## Recipes")
    parts += [_of_class(name, find_recipe(name), required=True) for name in sorted(RECIPES)]
    return "\n\n".join(parts) + "\n"


def _commands(path: str, group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)
            continue
        rows = [
            (_spelled(one), "" if one.default in (None, MISSING, [], ()) else _default(one.default), one.help or "")
            for one in command.params
            if one.name != "help" and not getattr(one, "hidden", False)
        ]
        first = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
        yield "\n".join([f"### {path} {name}", "", first, "", *_table(("option", "default", "meaning"), rows)]).rstrip()


def _spelled(option: Any) -> str:
    """An option's spellings, or the name of an argument as the help writes it."""
    if option.param_type_name == "argument":
        return f"`{option.metavar or option.name.upper()}`"
    return ", ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))


def _of_class(name: str, cls: Any, required: bool) -> str:
    """One class with its parameters; `required` says whether those without a default are its own."""
    first = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    parameters = [one for one in parameters_of(cls) if required or one.default is not MISSING]
    rows = [
        (f"`{one.name}`", f"`{one.type_name}`", str(one.range or ""), _default(one.default), one.help) for one in parameters
    ]
    open_ended = getattr(cls, "open_parameters", "") if not rows else ""
    table = _table(("parameter", "type", "range", "default", "meaning"), rows)
    return "\n".join([f"### {name}", "", first, *(["", open_ended] if open_ended else []), *(["", *table] if rows else [])])


def _default(value: Any) -> str:
    if value is MISSING:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else shown(value)
    return f"`{text}`" if text else ""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return []
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(row)} |" for row in cells)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
