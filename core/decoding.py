"""JSON content into dataclasses, with every type checked on the way: what a file says is not what a program may rely on."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
DEEPEST = 20  # levels of lists and sections in what has no type of its own
NAMES: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


class Undecodable(ValueError):
    """Content is not of the type that it should be; the message is "task.seed is missing" or the like."""


def decode(kind: type[T], content: object, where: str = "") -> T:
    """Make an instance of a dataclass from JSON content.

    Fields with a default may be absent, and further keys are allowed. Types of fields are text, numbers, bool, None, `Literal`,
    lists, tuples, dictionaries by text, dataclasses and unions of these; `Any` takes what JSON can hold.

    Args:
        kind: the dataclass, or any of these types.
        content: as `json.loads` gives it.
        where: the content's place in its file, for messages.

    Raises:
        Undecodable: something is absent or of another type, a number is not finite, text is no Unicode, or it is too deep.
    """
    return _decode(kind, content, where, 0)


def _decode(kind: Any, content: Any, where: str, depth: int) -> Any:
    place, origin = where or "the content", get_origin(kind)
    if is_dataclass(kind):
        return _instance(kind, content, where, depth)
    if kind is Any:
        return _anything(content, place, depth)
    if origin in (Union, UnionType):
        return _union(get_args(kind), content, where, depth)
    if origin is Literal:
        if not any(content == one and type(content) is type(one) for one in get_args(kind)):
            raise Undecodable(f"{place} is none of {', '.join(map(str, get_args(kind)))}")
        return content
    if origin in (list, tuple):
        return _sequence(origin, get_args(kind), content, where, depth)
    if origin is dict:
        return {key: _decode(get_args(kind)[1], value, _join(where, key), depth + 1) for key, value in _section(content, place)}
    return _plain(kind, content, place)


def _plain(kind: Any, content: Any, place: str) -> Any:
    # To Python bool is a kind of int; in JSON it is not, and 1 is a number as 1.0 is.
    fits = type(content) is kind or (kind is float and type(content) is int)
    if not fits:
        raise Undecodable(f"{place} is not {NAMES[kind]}")
    if kind is float:
        try:
            content = float(content)
        except OverflowError:
            content = math.inf
        if not math.isfinite(content):
            raise Undecodable(f"{place} is not a finite number")
    if isinstance(content, str) and not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError:
            raise Undecodable(f"{place} is not Unicode text") from None
    return content


def _section(content: Any, place: str) -> Any:
    if not isinstance(content, dict):
        raise Undecodable(f"{place} is not a section")
    return content.items()


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _instance(kind: Any, content: Any, where: str, depth: int) -> Any:
    given, types = dict(_section(content, where or "the content")), _types(kind)
    values = {}
    for field in fields(kind):
        place = _join(where, field.name)
        if field.name in given:
            values[field.name] = _decode(types[field.name], given[field.name], place, depth + 1)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Undecodable(f"{place} is missing")
    return kind(**values)


def _union(kinds: tuple[Any, ...], content: Any, where: str, depth: int) -> Any:
    if content is None and NoneType in kinds:
        return None
    first: Undecodable | None = None
    for kind in kinds:
        if kind is not NoneType:
            try:
                return _decode(kind, content, where, depth)
            except Undecodable as error:
                first = first or error
    assert first is not None
    raise first


def _sequence(origin: Any, kinds: tuple[Any, ...], content: Any, where: str, depth: int) -> Any:
    place = where or "the content"
    if not isinstance(content, list):
        raise Undecodable(f"{place} is not a list")
    if origin is list or kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(content)
    if len(kinds) != len(content):
        raise Undecodable(f"{place} has {len(content)} elements, not {len(kinds)}")
    pairs = zip(kinds, content, strict=True)
    return origin(_decode(kind, value, f"{where}[{number}]", depth + 1) for number, (kind, value) in enumerate(pairs))


def _anything(content: Any, place: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise Undecodable(f"{place} is nested too deeply")
    if isinstance(content, dict):
        return {_plain(str, key, place): _anything(value, _join(place, key), depth + 1) for key, value in content.items()}
    if isinstance(content, list):
        return [_anything(value, f"{place}[{number}]", depth + 1) for number, value in enumerate(content)]
    if isinstance(content, float) and not math.isfinite(content):
        raise Undecodable(f"{place} is not a finite number")
    return _plain(str, content, place) if isinstance(content, str) else content


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
