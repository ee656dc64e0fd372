"""Typed parameters of methods, datasets, samplers and backbones: dataclass fields, settable as `name=value` text."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import UsageError, did_you_mean

T = TypeVar("T")
WORDS_FOR_BOOL = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parameter(default: Any, help: str) -> Any:
    """A dataclass field with a default and a line that `bench show` prints."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Parameter:
    """One parameter, described."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def type_name(self) -> str:
        """The type as a user reads it: `float`, `int | None`, `'a' | 'b'`."""
        return _type_name(self.type)


def parameters_of(cls: type) -> list[Parameter]:
    """The parameters of a class whose fields are dataclass fields (a class without any has none)."""
    if not dataclasses.is_dataclass(cls):
        return []
    hints = typing.get_type_hints(cls)
    return [
        Parameter(field.name, hints[field.name], field.default, field.metadata.get("help", ""))
        for field in dataclasses.fields(cls)
        if field.init
    ]


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Read `name=value` strings.

    Raises:
        UsageError: a string without '=' or without a name.
    """
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"'{assignment}' is not of the form name=value")
        values[name.strip()] = value.strip()
    return values


def build(cls: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Make an instance of `cls` with `values` converted to the declared types.

    Args:
        cls: a dataclass.
        values: parameter values; text is converted, other values are checked.
        owner: who the parameters belong to, for the message ("method protonet").

    Raises:
        UsageError: an unknown parameter or a value of the wrong type; the line lists the right ones.
    """
    known = {parameter.name: parameter for parameter in parameters_of(cls)}
    typed = typed_values(known, values, owner)
    missing = [name for name, parameter in known.items() if parameter.default is dataclasses.MISSING and name not in typed]
    if missing:
        raise UsageError(f"{owner} needs a value: --set {missing[0]}=... ({known[missing[0]].type_name})")
    return cls(**typed)


def typed_values(known: Mapping[str, Parameter], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Convert `values` to the types of the `known` parameters; the rest as in `build`."""
    converted = {}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{owner} has no parameter '{name}'; {_known(name, known)}")
        try:
            converted[name] = convert(value, known[name].type)
        except ValueError:
            raise UsageError(f"{owner}: {name}={value} is not of type {known[name].type_name}") from None
    return converted


def _known(name: str, known: Mapping[str, Parameter]) -> str:
    if not known:
        return "it has none"
    listing = ", ".join(f"{p.name} ({p.type_name}, default {p.default})" for p in known.values())
    return f"{did_you_mean(name, known)} It has: {listing}" if len(known) > 1 else f"it has {listing}"


def convert(value: Any, kind: Any) -> Any:
    """Convert `value` (often text) to the type `kind`.

    Raises:
        ValueError: it does not fit.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_to_any(value, typing.get_args(kind))
    if origin is typing.Literal:
        if value in typing.get_args(kind):
            return value
        raise ValueError(value)
    if kind is type(None):
        if value is None or str(value).lower() in ("none", "null"):
            return None
        raise ValueError(value)
    if kind is bool:
        word = str(value).lower()
        if word not in WORDS_FOR_BOOL:
            raise ValueError(value)
        return WORDS_FOR_BOOL[word]
    if kind in (int, float) and not isinstance(value, bool):
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        if not isinstance(value, int | float | str):
            raise ValueError(value)
        number = kind(value)
        if not math.isfinite(number):  # no parameter here has a use for it, and JSON cannot hold it
            raise ValueError(value)
        return number
    if kind is str and isinstance(value, str):
        return value
    raise ValueError(value)


def _convert_to_any(value: Any, kinds: Iterable[Any]) -> Any:
    # None first: otherwise the text "none" would be taken by a str member of the union.
    for kind in sorted(kinds, key=lambda kind: kind is not type(None)):
        try:
            return convert(value, kind)
        except ValueError:
            continue
    raise ValueError(value)


def _type_name(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_name(member) for member in typing.get_args(kind))
    if origin is typing.Literal:
        return " | ".join(repr(member) for member in typing.get_args(kind))
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))
