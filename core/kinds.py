"""The types that options and parameters have: their words, whether a value has one, and text turned into one."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable
from typing import Any

WORDS_FOR_BOOL = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}


def convert(value: Any, kind: Any) -> Any:
    """Convert `value` (often text) to the type `kind`.

    Raises:
        ValueError: the value does not fit.
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
        try:
            number = kind(value)
        except OverflowError:
            raise ValueError(value) from None
        if isinstance(number, float) and not math.isfinite(number):  # of no use to a parameter, and not JSON
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


def type_name(kind: Any) -> str:
    """A type as a user reads it: `float`, `int | None`, `'a' | 'b'`."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(member) for member in typing.get_args(kind))
    if origin is typing.Literal:
        return " | ".join(repr(member) for member in typing.get_args(kind))
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))


def kind_words(kind: Any) -> list[str]:
    """A type in words, such as `a whole number`; the values of a Literal one by one."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(one) for one in typing.get_args(kind)]
    return [NAMES.get(kind, type_name(kind))]


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value has a type. A whole number is also a number; a bool is neither."""
    if typing.get_origin(kind) is typing.Literal:
        return any(value == one and type(value) is type(one) for one in typing.get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
