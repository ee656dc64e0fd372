"""A command's options from the dataclass that declares them: `--help`, defaults, reading and checks are written once."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Collection
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any

import typer

from ....core.errors import UsageError
from ....core.options import Parameter, as_option, parameters_of, parse_assignments

Command = Callable[..., None]
TYPES = {int: "int", float: "float", Path: "path"}


def takes(*configs: type, but: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command the options that dataclasses declare, before its own.

    The command is called with one dictionary for each dataclass: the options that the user typed, as values of the declared
    types. `--set` gives `settings`.

    Args:
        configs: the dataclasses.
        but: names of fields that are no options of this command.
    """
    declared = [[one for one in parameters_of(config) if one.name not in but] for config in configs]

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[len(configs) :]

        def called(context: typer.Context, **values: Any) -> None:
            typed = {name for name in values if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
            for one in itertools.chain(*declared):
                if one.was in typed and one.name not in typed:
                    typed.add(one.name)
                    values[one.name] = values[one.was]
            given = [{one.name: _read(one, values[one.name]) for one in group if one.name in typed} for group in declared]
            command(*given, **{one.name: values[one.name] for one in own})

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        made = [option for group in declared for one in group for option in _as_typer(one)]
        signature = inspect.Signature([context, *made, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own)])
        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
        called.__doc__ = command.__doc__
        return called

    return decorate


def _as_typer(one: Parameter) -> list[inspect.Parameter]:
    """An option as Typer finds it in a function's signature, and its older name, which `--help` does not show.

    The option is a bool, or else text, whose type `_read` knows better.
    """
    flag, default = f"--{one.name.replace('_', '-')}", one.default
    kind: Any = str
    if one.name == "settings":
        flag, kind, default = "--set", list[str], []
    elif bool in one.kinds:
        kind, flag = bool | None, f"{flag}/--no-{flag[2:]}"
    elif one.several:
        kind, default = list[str], [] if default is None else [str(default)]
    elif default is not MISSING:
        kind, default = str | None, one.none if default is None else str(default)
    names = [TYPES.get(each, "str") for each in one.kinds if each is not type(None)]
    metavar = f"<list[{names[0]}]>" if one.several or kind == list[str] else f"<{names[0]}>"
    option = typer.Option(flag, help=one.help, metavar=None if kind == bool | None else metavar)
    made = [_keyword(one.name, inspect.Parameter.empty if default is MISSING else default, Annotated[kind, option])]
    if one.was:
        made.append(_keyword(one.was, None, Annotated[str | None, typer.Option(f"--{one.was}", hidden=True)]))
    return made


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(one: Parameter, value: Any) -> Any:
    """Turn what was typed into the declared type.

    Raises:
        UsageError: that is not possible.
    """
    if one.name == "settings":
        return parse_assignments(value)
    if one.several:
        return [_one(one, part) for text in value for part in ([text] if _names_file(text) else text.split(","))]
    return _one(one, value)


def _names_file(text: str) -> bool:
    """Whether a text is the path of a file, whose name may have commas."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, or with a zero in it
        return False


def _one(one: Parameter, value: Any) -> Any:
    try:
        return one.as_option(value)
    except ValueError as error:
        raise UsageError(f"{as_option(one.name, value)}: {error}") from None
