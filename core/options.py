"""Options, declared once: a dataclass field has the type, default, help and range of an option.

From this field come the command line, the keys of a TOML file, `bench show`, the tables of the documents, and the check of a
value with its message. The parameters of methods, datasets, samplers, backbones and recipes are such fields, and so are the
options of commands.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

from .errors import UsageError, did_you_mean
from .kinds import NAMES, convert, has_type, kind_words, type_name
from .ranges import LARGEST_COUNT, Range

T = TypeVar("T")
# Values of options or parameters by name. Which value a name may have is said by its declaration, so here any may stand.
Settings = Mapping[str, Any]
SHOWN = 80  # characters of a value that a message repeats


class Declaration(TypedDict, total=False):
    """What a field says of its option beside type and default; see `declared`."""

    help: str
    range: Range | None
    several: bool
    none: str | None
    was: str


def parameter(default: Any, help: str = "", **more: Any) -> Any:
    """Declare an option or a parameter with a default as a dataclass field.

    Args:
        default: the value unless the user gives another; `dict` stands for an empty dictionary.
        help: a line for `--help`, `bench show` and the documents.
        more: as in `declared`.
    """
    metadata = declared(help, **more)
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declared(
    help: str = "",
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    several: bool = False,
    none: str | None = None,
    was: str = "",
) -> Declaration:
    """The metadata of a field. A field without a default is written as `field(metadata=declared("…", minimum=1))`.

    Args:
        help: a line for `--help`, `bench show` and the documents.
        minimum: the value is at least this. Whole numbers with a minimum also have a maximum, by default `LARGEST_COUNT`.
        above: the value is greater than this.
        maximum: the value is at most this.
        below: the value is less than this.
        several: whether a list of values makes a grid of runs (options of a command): a list in a TOML file; on the command
            line, values with commas between them, or the option several times. Of any other option the last one counts.
        none: the word for None on a command line, such as "auto".
        was: an older name of the option, which still works and is not shown.
    """
    allowed = Range(minimum, above, maximum, below)
    return {"help": help, "range": None if allowed == Range() else allowed, "several": several, "none": none, "was": was}


@dataclass(frozen=True)
class Parameter:
    """The description of one option or parameter."""

    name: str
    type: Any
    default: Any
    help: str
    range: Range | None = None
    several: bool = False
    none: str | None = None
    was: str = ""

    @property
    def type_name(self) -> str:
        """The type as a user reads it: `float`, `int | None`, `'a' | 'b'`."""
        return type_name(self.type)

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types of a union, or the only one."""
        united = typing.get_origin(self.type) in (typing.Union, types.UnionType)
        return typing.get_args(self.type) if united else (self.type,)

    def converted(self, value: Any) -> Any:
        """Convert a value, often text, to the declared type.

        Raises:
            ValueError: the value has the wrong type or is out of range; the message says which values are right.
        """
        try:
            found = convert(value, self.type)
        except ValueError:
            raise ValueError(f"not {self.words()}") from None
        if fault := self.fault(found):
            raise ValueError(fault)
        return found

    def as_option(self, value: Any) -> Any:
        """Convert the value of a command's option: "none" may have another word (`none`), and a text is never a bool.

        Raises:
            ValueError: as in `converted`.
        """
        if self.none is not None and value == self.none:
            return None
        if Path in self.kinds and isinstance(value, str):
            return Path(value)
        if bool in self.kinds and not isinstance(value, bool):
            raise ValueError(f"not {NAMES[bool]}")
        kinds = [kind for kind in self.kinds if kind is not type(None)]
        return dataclasses.replace(self, type=typing.Union[*kinds]).converted(value)

    def fault(self, value: Any) -> str:
        """The reason why a field cannot have a value (type or range), in words; "" where it can."""
        plain = [kind for kind in self.kinds if kind in NAMES or typing.get_origin(kind) is typing.Literal]
        if len(plain) < len(self.kinds):  # a type that cannot be checked
            return ""
        if not any(has_type(value, kind) for kind in plain):
            return f"not {self.words()}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        allowed = self.range or Range()
        if allowed.minimum is not None and allowed.maximum is None and float not in self.kinds:
            allowed = dataclasses.replace(allowed, maximum=LARGEST_COUNT)
        return allowed.fault(value)

    def words(self) -> str:
        """The type in words: `a whole number or none`."""
        words = [word for kind in self.kinds for word in kind_words(kind)] + ([self.none] if self.none else [])
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def shown(value: Any) -> str:
    """A value as text for a message, shortened."""
    try:
        text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}… ({len(text):,} characters)"


def as_option(name: str, value: Any) -> str:
    """An option as the user types it: `--meta-batch 4`."""
    return f"--{name.replace('_', '-')} {shown(value)}"


def check(instance: object, said: Callable[[str, Any], str]) -> None:
    """Check every field of an instance against its declared type and range.

    Args:
        instance: of a dataclass.
        said: writes a name and a value for the message, such as `as_option`.

    Raises:
        UsageError: a value has the wrong type or is out of range; the message names the first one and says what is right.
    """
    for one in parameters_of(type(instance)):
        value = getattr(instance, one.name)
        if fault := one.fault(value):
            raise UsageError(f"{said(one.name, value)}: {fault}")


class Declared:
    """A base of dataclasses whose fields are parameters. Making an instance checks them (`check`)."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        check(self, lambda name, value: f"{owner}: {name}={shown(value)}")


class Options:
    """A base of dataclasses whose fields are options of a command. Making an instance checks them (`check`)."""

    def __post_init__(self) -> None:
        check(self, as_option)


def parameters_of(cls: type) -> list[Parameter]:
    """The parameters of a dataclass; an empty list for any other class."""
    return list(_parameters_of(cls))


@cache
def _parameters_of(cls: type) -> tuple[Parameter, ...]:
    if not dataclasses.is_dataclass(cls):
        return ()
    hints = typing.get_type_hints(cls)
    return tuple(
        Parameter(field.name, hints[field.name], field.default, **_said(field))
        for field in dataclasses.fields(cls)
        if field.init
    )


def _said(field: dataclasses.Field[Any]) -> Declaration:
    said = {name: value for name, value in field.metadata.items() if name in Declaration.__annotations__}
    return cast(Declaration, {"help": "", **said})


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Read `name=value` strings.

    Raises:
        UsageError: a string has no '=' or no name, or a name has two values.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"'{assignment}' is not of the form name=value")
        name, value = name.strip(), value.strip()
        if values.setdefault(name, value) != value:
            raise UsageError(f"--set {name}={values[name]} and {name}={value}: take one of them")
    return values


def build(cls: type[T], values: Settings, owner: str) -> T:
    """Make an instance of `cls` with `values` converted to the declared types.

    Args:
        cls: a dataclass.
        values: parameter values; text is converted, other values are checked.
        owner: the owner of the parameters, for the message ("method protonet").

    Raises:
        UsageError: a parameter is unknown or missing, or a value has the wrong type or is out of range; the message says what
            is right.
    """
    known = {parameter.name: parameter for parameter in parameters_of(cls)}
    typed = typed_values(known, values, owner)
    missing = [name for name, parameter in known.items() if parameter.default is dataclasses.MISSING and name not in typed]
    if missing:
        raise UsageError(f"{owner} needs a value: --set {missing[0]}=... ({known[missing[0]].type_name})")
    return cls(**typed)


def typed_values(known: Mapping[str, Parameter], values: Settings, owner: str) -> Settings:
    """Convert `values` to the types of the `known` parameters and check them; `owner` and errors are as in `build`."""
    converted = {}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{owner} has no parameter '{name}'; {_known(name, known)}")
        try:
            converted[name] = known[name].converted(value)
        except ValueError as error:
            raise UsageError(f"{owner}: {name}={shown(value)}: {error}") from None
    return converted


def _known(name: str, known: Mapping[str, Parameter]) -> str:
    if not known:
        return "it has none"
    listing = ", ".join(f"{p.name} ({p.type_name}, default {p.default})" for p in known.values())
    near = did_you_mean(name, known)
    return f"{near} It has: {listing}" if len(known) > 1 and near.endswith("?") else f"it has {listing}"
