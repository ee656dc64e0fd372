"""The code of a class without a source file, as of a notebook, of `python -c` or of standard input."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType

PLAIN = (bool, int, float, str, bytes, type(None))


def compiled(cls: type) -> Iterator[str]:
    """What decides the work of a class, a text each: its values and functions, and those of its module that these use.

    It is another for another Python. Docstrings do not count.
    """
    seen: set[int] = set()
    for one in cls.__mro__:
        if one.__module__ == cls.__module__:
            for name, value in sorted(vars(one).items()):
                if name not in ("__doc__", "__firstlineno__"):
                    yield from _of(name, value, cls.__module__, seen)


def _of(name: str, value: object, module: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    value = value.func if isinstance(value, functools.cached_property) else value
    value = value.fget if isinstance(value, property) else value
    if isinstance(value, PLAIN):
        yield f"{name}={value!r}"
    elif isinstance(value, FunctionType) and value.__module__ == module and id(value) not in seen:
        seen.add(id(value))
        yield f"{name}={value.__defaults__!r}" if all(isinstance(one, PLAIN) for one in value.__defaults__ or ()) else name
        for code in _codes(value.__code__):
            yield f"{code.co_code.hex()} {code.co_names} {[one for one in _constants(code) if isinstance(one, PLAIN)]}"
            for used in code.co_names:
                yield from _of(used, value.__globals__.get(used, ...), module, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions within it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _constants(code: CodeType) -> Iterator[object]:
    """The constants of a code, those of tuples too, but for the docstring."""
    for number, one in enumerate(code.co_consts):
        if number or not isinstance(one, str):
            yield from one if isinstance(one, tuple) else (one,)
