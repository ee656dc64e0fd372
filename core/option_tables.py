"""Options from TOML: the keys of a table are the options of a command, its values are of the types that the config declares."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from .errors import UsageError, did_you_mean
from .files import regular_file
from .options import convert


def read_table(path: Path, where: str) -> dict[str, Any]:
    """What a TOML file holds.

    Args:
        path: the file.
        where: what messages begin with, such as "--config run.toml".

    Raises:
        UsageError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(regular_file(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not TOML: {error}") from error


def options_of(
    table: Mapping[str, Any],
    config: type,
    where: str,
    several: Collection[str] = (),
    elsewhere: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A table's values as fields of a config: keys with dashes are names with underscores, and `[set]` is `settings`.

    Args:
        table: from a TOML file.
        config: the dataclass.
        where: what messages begin with.
        several: names of fields of which a list of values makes a grid.
        elsewhere: fields that this table has no place for, and where they are said instead.

    Raises:
        UsageError: an unknown key, or a value of the wrong type.
    """
    hints, elsewhere = typing.get_type_hints(config), elsewhere or {}
    known = {one.name for one in fields(config)} - {"settings", *elsewhere}
    has_settings, found = "settings" in hints, {}
    keys = [*sorted(known), *(["set"] if has_settings else [])]
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "set" and has_settings:
            if not isinstance(value, Mapping):
                raise UsageError(f"{where}: set is a table of parameters, [set]")
            found |= {"settings": flattened(value)} if value else {}
            continue
        if name in elsewhere:
            raise UsageError(f"{where}: '{key}' has no place here; {elsewhere[name]}")
        if name not in known:
            raise UsageError(f"{where}: unknown key '{key}'; {did_you_mean(name, keys)}")
        try:
            found[name] = _of_type(value, hints[name], several=name in several)
        except ValueError:
            raise UsageError(f"{where}: {key} = {value!r} is of the wrong type") from None
    return found


def check_complete(options: Collection[str], config: type, where: str) -> None:
    """Refuse options that lack one without a default.

    Raises:
        UsageError: the line names it.
    """
    for one in fields(config):
        if one.name not in options and one.default is MISSING and one.default_factory is MISSING:
            raise UsageError(f"{where} lacks {one.name}")


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a table and of the tables in it, by dotted name."""
    flat = {}
    for key, value in table.items():
        flat.update(flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat


def _of_type(value: Any, kind: Any, several: bool) -> Any:
    """Check a value; a list of values makes a grid where that is possible.

    Raises:
        ValueError: it is of another type.
    """
    if several and isinstance(value, list):
        return [_of_type(one, kind, several=False) for one in value]
    if kind in (bool, bool | None) and not isinstance(value, bool):  # TOML has words of its own for these
        raise ValueError(value)
    if kind in (Path, Path | None):
        return Path(convert(value, str))
    return convert(value, str if kind == str | None else kind)  # a TOML file has no null: "none" is a word, as in tune = "none"
