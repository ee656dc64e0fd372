"""Reading pickled caches without running code from them.

A pickle is a program for a small stack machine, and Python's own machine calls any function that the program names. The machine
here calls none of them: it knows numbers, strings, bytes, lists, tuples, dictionaries, and the few forms in which numpy writes
arrays. Anything else is an error. Strings of Python 2 are read as latin-1.

Array data are not copied: an array is a view of the file, which the caller maps into memory. A cache of gigabytes can therefore
be opened, and its images read one after another.
"""

from __future__ import annotations

import ast
import mmap
import struct
from collections.abc import Callable
from typing import Any

from ....core.errors import UserError
from .pickled_values import CALLS, CLASSES, Array, DType, Name, Raw, Refused, array, settled

ADMITTED = "only numpy arrays, lists, tuples, dictionaries, strings and numbers are read"
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error, RecursionError, SyntaxError)


def load_pickle(content: bytes | mmap.mmap, name: str, start: int = 0, stop: int | None = None) -> Any:
    """Read one pickle of protocol 0 to 5.

    Args:
        content: the bytes around the pickle; arrays are views of them.
        name: name of the pickle in messages.
        start: first byte of the pickle.
        stop: limit of its bytes; by default the end of `content`.

    Raises:
        UserError: the pickle contains something that is not admitted, or is damaged.
    """
    try:
        return _Machine(content, start, len(content) if stop is None else stop).run()
    except Refused as refused:
        raise UserError(f"{name}: this pickle holds {refused}; {ADMITTED}") from None
    except DAMAGE as error:
        raise UserError(f"{name}: not a pickle, or a damaged one") from error


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
                raise Refused(f"an object of a class (code {code:#x})" if code in OBJECTS else f"the unknown code {code:#x}")
            action(self)
        return settled(self.stack.pop())

    def take(self, count: int) -> memoryview:
        """Take the next bytes."""
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
            raise Refused(f"a call of {full}")
        self.push(Name(full))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.name not in CALLS:
            raise Refused("a call of something that is no function of numpy")
        self.push(CALLS[function.name](*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Array):
            _, shape, dtype, fortran, data = state
            target.array = array(data, dtype, shape, "F" if fortran else "C")
        elif isinstance(target, DType):
            if any(part is not None for part in state[2:5]):
                raise Refused("an array with named fields")
            order = settled(state[1])
            target.dtype = target.dtype if order == "|" else target.dtype.newbyteorder(order)
        else:
            raise Refused("an object of a class")


def _integer(machine: _Machine) -> None:
    text = machine.line()
    machine.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


def _raw(form: str, is_text: bool) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(Raw(machine.take(machine.number(form)), is_text))


def _unicode(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(str(machine.take(machine.number(form)), "utf-8", "surrogatepass"))


def _long(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(int.from_bytes(machine.take(machine.number(form)), "little", signed=True))


def _old_string(machine: _Machine) -> None:
    machine.push(Raw(memoryview(ast.literal_eval(f"b{machine.line()}")), is_text=True))


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
