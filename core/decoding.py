"""JSON content into dataclasses and back. Every type is checked, since a file may hold anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Decoder = Callable[[Any, int], Any]  # of content at a depth
DEEPEST = 20  # levels of lists and sections
NAMES: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


class Undecodable(ValueError):
    """Content has the wrong type. The message names the place and the problem: "task.seed is missing"."""

    def __init__(self, problem: str, place: str = "") -> None:
        """Note a problem and its place; the enclosing decoders put their names before the place (`below`)."""
        super().__init__(problem)
        self.problem, self.place = problem, place

    def __str__(self) -> str:
        return f"{self.place or 'the content'} {self.problem}"

    def below(self, name: str) -> Undecodable:
        """Put a name before the place, and return the same error."""
        self.place = name + self.place if self.place.startswith("[") or not self.place else f"{name}.{self.place}"
        return self


def decode(kind: type[T], content: object, where: str = "") -> T:
    """Make an instance of a dataclass from JSON content.

    Fields with a default may be absent, and further keys are allowed as far as JSON can hold their values. Types of fields are
    text, numbers, bool, None, `Literal`, lists, tuples, dictionaries by text, dataclasses and unions of these; `Any` and
    `object` take what JSON can hold.

    Args:
        kind: the dataclass, or any of these types.
        content: as `json.loads` gives it.
        where: the content's place in its file, for messages.

    Raises:
        Undecodable: a part is absent, has the wrong type or is nested too deeply, a number is not finite, or a text is not
            Unicode.
    """
    try:
        return _decoder(kind)(content, 0)
    except Undecodable as error:
        raise (error.below(where) if where else error) from None


def encode(value: Any) -> Any:
    """Turn dataclasses and their content into JSON content. A field that is None by default is left out while it is None."""
    if is_dataclass(value):
        parts = {field: getattr(value, field.name) for field in fields(value)}
        return {field.name: encode(part) for field, part in parts.items() if part is not None or field.default is not None}
    if isinstance(value, list | tuple):
        return [encode(part) for part in value]
    return {key: encode(part) for key, part in value.items()} if isinstance(value, Mapping) else value


@cache
def _decoder(kind: Any) -> Decoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _of_dataclass(kind)
    if kind is Any or kind is object:
        return _anything
    if origin in (Union, UnionType):
        return _of_union(arguments)
    if origin is Literal:
        return _of_literal(arguments)
    if origin in (list, tuple):
        return _of_sequence(origin, arguments)
    if origin in (dict, Mapping):
        return _of_dictionary(arguments[1])
    return _number if kind is float else _text if kind is str else _of_plain(kind)


def _of_plain(kind: type) -> Decoder:
    def read(content: Any, depth: int) -> Any:
        if type(content) is not kind:  # not `isinstance`: in Python a bool is an int, in JSON it is not
            raise Undecodable(f"is not {NAMES[kind]}")
        return content

    return read


def _number(content: Any, depth: int) -> float:
    if type(content) is int:  # 1 is a number as 1.0 is
        content = float(content) if content.bit_length() < 1024 else math.inf
    if type(content) is not float:
        raise Undecodable(f"is not {NAMES[float]}")
    if not math.isfinite(content):
        raise Undecodable("is not a finite number")
    return content


def _text(content: Any, depth: int) -> str:
    if type(content) is not str:
        raise Undecodable(f"is not {NAMES[str]}")
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError:
            raise Undecodable("is not Unicode text") from None
    return content


def _of_dataclass(kind: Any) -> Decoder:
    known: dict[str, Decoder] = {}
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]

    def read(content: Any, depth: int) -> Any:
        _check_depth(depth)
        if not isinstance(content, dict):
            raise Undecodable("is not a section")
        if not known:  # filled at the first reading, since a dataclass may have itself as a field
            types = get_type_hints(kind)
            known.update({field.name: _decoder(types[field.name]) for field in fields(kind)})
        for name in needed:
            if name not in content:
                raise Undecodable("is missing", name)
        values = {}
        for name, part in content.items():
            try:
                if name in known:
                    values[name] = known[name](part, depth + 1)
                else:
                    _anything(part, depth + 1)
            except Undecodable as error:
                raise error.below(name) from None
        return kind(**values)

    return read


def _of_union(kinds: tuple[Any, ...]) -> Decoder:
    decoders = [_decoder(kind) for kind in kinds if kind is not NoneType]
    nullable = NoneType in kinds

    def read(content: Any, depth: int) -> Any:
        if content is None and nullable:
            return None
        first: Undecodable | None = None
        for decoder in decoders:
            try:
                return decoder(content, depth)
            except Undecodable as error:
                first = first or error
        assert first is not None
        raise first

    return read


def _of_literal(known: tuple[Any, ...]) -> Decoder:
    def read(content: Any, depth: int) -> Any:
        if not any(content == one and type(content) is type(one) for one in known):
            raise Undecodable(f"is not one of {', '.join(map(str, known))}")
        return content

    return read


def _of_sequence(origin: Any, kinds: tuple[Any, ...]) -> Decoder:
    endless = origin is list or kinds[-1] is Ellipsis
    decoders = [_decoder(kind) for kind in kinds if kind is not Ellipsis]

    def read(content: Any, depth: int) -> Any:
        _check_depth(depth)
        if not isinstance(content, list):
            raise Undecodable("is not a list")
        if not endless and len(decoders) != len(content):
            raise Undecodable(f"has {len(content)} elements, not {len(decoders)}")
        if decoders == [_number] and {*map(type, content)} <= {float} and all(map(math.isfinite, content)):
            return origin(content)  # a short cut for lists of thousands of numbers
        values = []
        for number, part in enumerate(content):
            try:
                values.append(decoders[0 if endless else number](part, depth + 1))
            except Undecodable as error:
                raise error.below(f"[{number}]") from None
        return origin(values)

    return read


def _of_dictionary(kind: Any) -> Decoder:
    decoder = _decoder(kind)

    def read(content: Any, depth: int) -> Any:
        _check_depth(depth)
        if not isinstance(content, dict):
            raise Undecodable("is not a section")
        values = {}
        for name, part in content.items():
            try:
                values[_text(name, depth)] = decoder(part, depth + 1)
            except Undecodable as error:
                raise error.below(ascii(name)[1:-1]) from None
        return values

    return read


def _anything(content: Any, depth: int) -> Any:
    if isinstance(content, dict):
        return _of_any_dictionary(content, depth)
    if isinstance(content, list):
        return _list_of_anything(content, depth)
    if isinstance(content, float) and not math.isfinite(content):
        raise Undecodable("is not a finite number")
    return _text(content, depth) if isinstance(content, str) else content


_of_any_dictionary = _of_dictionary(Any)
_list_of_anything = _of_sequence(list, (Any,))


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise Undecodable("is nested too deeply")
