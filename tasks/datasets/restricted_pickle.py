"""Reading pickled caches without running anything that is in them.

A pickle is a program for a small stack machine, and Python's own machine calls whatever function the program names. The one
here calls nothing: it knows numbers, strings, bytes, lists, tuples, dictionaries, and the few forms in which numpy writes
arrays; at anything else it stops with one line. Strings of Python 2 are read as latin-1.

Array data are not copied: an array is a view of the file, which the caller maps into memory. So a cache of gigabytes can be
opened, and its images read one after the other.
"""

from __future__ import annotations

import ast
import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError

ADMITTED = "only numpy arrays, lists, tuples, dictionaries, strings and numbers are read"
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error, RecursionError, SyntaxError)
DTYPE_CODE = re.compile(r"[biufcSU]\d{1,9}")


def load_pickle(content: bytes | mmap.mmap, name: str, start: int = 0, stop: int | None = None) -> Any:
    """Read one pickle of protocol 0 to 5.

    Args:
        content: what holds it; arrays are views of this.
        name: how a message names it.
        start: where it begins.
        stop: where it ends at the latest.

    Raises:
        UserError: it asks for something that is not admitted, or it is damaged.
    """
    try:
        return _Machine(content, start, len(content) if stop is None else stop).run()
    except _Refused as refused:
        raise UserError(f"{name}: this pickle holds {refused}; {ADMITTED}") from None
    except DAMAGE as error:
        raise UserError(f"{name}: not a pickle, or a damaged one") from error


class _Refused(Exception):
    """Something that is not admitted."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the pickle names; never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Raw:
    """Bytes that may be array data, an old string, or bytes: that shows when they are used."""

    view: memoryview
    is_text: bool


@dataclass(slots=True)
class _DType:
    """A dtype, whose byte order comes after its creation."""

    dtype: np.dtype


@dataclass(slots=True)
class _Array:
    """An array, whose data come after its creation."""

    array: np.ndarray | None = None


class _Machine:
    def __init__(self, content: bytes | mmap.mmap, start: int, stop: int) -> None:
        self.content, self.view = content, memoryview(content)
        self.at, self.stop = start, stop
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (code := self.take(1)[0]) != ord("."):
            action = ACTIONS.get(code)
            if action is None:
                raise _Refused(f"an object of a class (code {code:#x})" if code in OBJECTS else f"the unknown code {code:#x}")
            action(self)
        return settled(self.stack.pop())

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if not 0 <= count <= self.stop - self.at:
            raise ValueError(count)
        self.at += count
        return self.view[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def line(self) -> str:
        end = self.content.find(b"\n", self.at, self.stop)
        if end < 0:
            raise ValueError("no end of line")
        text = bytes(self.take(end - self.at)).decode("latin-1")
        self.at += 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def fold(self, count: int) -> None:
        """Replace the last `count` values by their tuple."""
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise IndexError(count)
        self.stack[-count:] = [items]

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError(target)
        target.extend(map(settled, items))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError(target)
        target.update(zip(map(settled, items[::2]), map(settled, items[1::2]), strict=True))

    def name(self, module: Any, name: Any) -> None:
        full = f"{settled(module)}.{settled(name)}"
        if full not in CALLS and full not in CLASSES:
            raise _Refused(f"a call of {full}")
        self.push(_Name(full))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.name not in CALLS:
            raise _Refused("a call of something that is no function of numpy")
        self.push(CALLS[function.name](*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, fortran, data = state
            target.array = array(data, dtype, shape, "F" if fortran else "C")
        elif isinstance(target, _DType):
            if any(part is not None for part in state[2:5]):
                raise _Refused("an array with named fields")
            order = settled(state[1])
            target.dtype = target.dtype if order == "|" else target.dtype.newbyteorder(order)
        else:
            raise _Refused("an object of a class")


def settled(value: Any) -> Any:
    """A value as it goes into a list or dictionary, when it is known how its raw bytes are meant."""
    kind = type(value)
    if kind is _Raw:
        return str(value.view, "latin-1") if value.is_text else bytes(value.view)
    if kind is _Array:
        if value.array is None:
            raise ValueError("an array without data")
        return value.array
    if kind is tuple:
        return tuple(map(settled, value))
    if kind is _DType:
        return value.dtype
    if kind is _Name:
        raise _Refused(f"the class {value.name}")
    return value


def array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """A view of raw bytes as an array."""
    if not isinstance(dtype, _DType) or not isinstance(data, _Raw | bytes | str):
        raise _Refused("an array of objects")
    raw = data.view if isinstance(data, _Raw) else data.encode("latin-1") if isinstance(data, str) else data
    shape = tuple(int(length) for length in settled(shape)) if isinstance(shape, tuple) else (int(shape),)
    flat = np.frombuffer(raw, dtype.dtype) if len(raw) else np.empty(0, dtype.dtype)
    return flat.reshape(shape, order="F" if settled(order) == "F" else "C")


def make_dtype(code: Any, *_: Any) -> _DType:
    """The dtype of a code such as u1 or f8."""
    code = settled(code)
    if not isinstance(code, str) or not DTYPE_CODE.fullmatch(code):
        raise _Refused(f"an array of type {code!r}")
    return _DType(np.dtype(code))


def make_scalar(dtype: Any, data: Any) -> Any:
    """A number of numpy's, as Python's."""
    return array(data, dtype, (), "C").item()


def encode(text: Any, encoding: Any = "latin1") -> _Raw:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if settled(encoding) not in ("latin1", "latin-1"):
        raise ValueError(encoding)
    return _Raw(memoryview(settled(text).encode("latin-1")), is_text=False)


def no_bytes() -> bytes:
    """How Python 3 writes empty bytes in the protocols of Python 2."""
    return b""


CLASSES = {"numpy.ndarray"}
CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": make_dtype,
    "_codecs.encode": encode,
    "__builtin__.bytes": no_bytes,
    "builtins.bytes": no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    CALLS[f"{_core}.multiarray._reconstruct"] = lambda *_: _Array()
    CALLS[f"{_core}.multiarray.scalar"] = make_scalar
    CALLS[f"{_core}.numeric._frombuffer"] = lambda data, dtype, shape, order: _Array(array(data, dtype, shape, order))


def _integer(machine: _Machine) -> None:
    text = machine.line()
    machine.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


def _raw(form: str, is_text: bool) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(_Raw(machine.take(machine.number(form)), is_text))


def _unicode(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(str(machine.take(machine.number(form)), "utf-8", "surrogatepass"))


def _long(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(int.from_bytes(machine.take(machine.number(form)), "little", signed=True))


def _old_string(machine: _Machine) -> None:
    machine.push(_Raw(memoryview(ast.literal_eval(f"b{machine.line()}")), is_text=True))


def _stack_name(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.name(module, name)


def _dictionary(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.push({})
    machine.set_items(items)


def _list(machine: _Machine) -> None:
    items = machine.since_mark()
    machine.push([])
    machine.append(items)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_items([key, value])


OBJECTS = frozenset(b"ioPQ\x81\x82\x83\x84\x8f\x90\x91\x92\x97\x98")  # instances, persistent ids, extensions, sets, …
ACTIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): action
    for code, action in {
        "\x80": lambda machine: machine.take(1),  # the protocol
        "\x95": lambda machine: machine.take(8),  # a frame
        "(": _Machine.mark,
        "0": lambda machine: machine.stack.pop(),
        "1": _Machine.since_mark,
        "2": lambda machine: machine.push(machine.stack[-1]),
        "N": lambda machine: machine.push(None),
        "\x88": lambda machine: machine.push(True),
        "\x89": lambda machine: machine.push(False),
        "I": _integer,
        "J": lambda machine: machine.push(machine.number("i")),
        "K": lambda machine: machine.push(machine.number("B")),
        "M": lambda machine: machine.push(machine.number("H")),
        "L": lambda machine: machine.push(int(machine.line().removesuffix("L"))),
        "\x8a": _long("B"),
        "\x8b": _long("i"),
        "F": lambda machine: machine.push(float(machine.line())),
        "G": lambda machine: machine.push(struct.unpack(">d", machine.take(8))[0]),
        "S": _old_string,
        "T": _raw("i", is_text=True),
        "U": _raw("B", is_text=True),
        "B": _raw("I", is_text=False),
        "C": _raw("B", is_text=False),
        "\x8e": _raw("Q", is_text=False),
        "\x96": _raw("Q", is_text=False),
        "V": lambda machine: machine.push(machine.line().encode("latin-1").decode("raw-unicode-escape")),
        "X": _unicode("I"),
        "\x8c": _unicode("B"),
        "\x8d": _unicode("Q"),
        "]": lambda machine: machine.push([]),
        "l": _list,
        "a": lambda machine: machine.append([machine.stack.pop()]),
        "e": lambda machine: machine.append(machine.since_mark()),
        "}": lambda machine: machine.push({}),
        "d": _dictionary,
        "s": _set_item,
        "u": lambda machine: machine.set_items(machine.since_mark()),
        ")": lambda machine: machine.push(()),
        "t": lambda machine: machine.push(tuple(machine.since_mark())),
        "\x85": lambda machine: machine.fold(1),
        "\x86": lambda machine: machine.fold(2),
        "\x87": lambda machine: machine.fold(3),
        "p": lambda machine: machine.put(int(machine.line())),
        "q": lambda machine: machine.put(machine.number("B")),
        "r": lambda machine: machine.put(machine.number("I")),
        "\x94": lambda machine: machine.put(len(machine.memo)),
        "g": lambda machine: machine.push(machine.memo[int(machine.line())]),
        "h": lambda machine: machine.push(machine.memo[machine.number("B")]),
        "j": lambda machine: machine.push(machine.memo[machine.number("I")]),
        "c": lambda machine: machine.name(machine.line(), machine.line()),
        "\x93": _stack_name,
        "R": _Machine.reduce,
        "b": _Machine.build,
    }.items()
}
