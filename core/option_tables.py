"""Options from TOML: the keys of a table are the options of a command, and its values have the types of the config's fields."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path

from .errors import UsageError, did_you_mean
from .files import regular_file
from .options import Settings, parameters_of, shown


def read_table(path: Path, where: str) -> dict[str, object]:
    """Read a TOML file.

    Args:
        path: the file.
        where: the beginning of messages, such as "--config run.toml".

    Raises:
        UsageError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(regular_file(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply") from error
    except ValueError as error:  # TOML's own, Unicode's, and Python's of a number with thousands of digits
        reason = str(error).partition("; use sys.")[0]
        raise UsageError(f"{where} is not TOML: {reason}") from error


def options_of(
    table: Mapping[str, object],
    config: type,
    where: str,
    elsewhere: Mapping[str, str] | None = None,
    several: bool = True,
) -> Settings:
    """Turn a table into values of a config's fields: dashes in keys become underscores, and `[set]` becomes `settings`.

    Args:
        table: from a TOML file.
        config: the dataclass.
        where: the beginning of messages.
        elsewhere: fields that do not belong into this table, each with the place where they do.
        several: whether an option may have a list of values, which makes a grid, where its field is declared so.

    Raises:
        UsageError: a key is unknown, or a value has the wrong type.
    """
    elsewhere, declared = elsewhere or {}, {one.name: one for one in parameters_of(config)}
    known = declared.keys() - {"settings", *elsewhere}
    has_settings = "settings" in declared
    found: dict[str, object] = {}
    older = {one.was: name for name, one in declared.items() if one.was}
    keys = [*sorted(known), *(["set"] if has_settings else [])]
    for key, value in table.items():
        name = older.get(key, key.replace("-", "_"))
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
            one = declared[name]
            listed = value if several and one.several and isinstance(value, list) else None
            found[name] = one.as_option(value) if listed is None else [one.as_option(each) for each in listed]
        except ValueError as error:
            raise UsageError(f"{where}: {key} = {shown(value)}: {error}") from None
    return found


def check_complete(options: Collection[str], config: type, where: str) -> None:
    """Check that every field of a config without a default has a value.

    Raises:
        UsageError: an option is missing; the message names it.
    """
    for one in fields(config):
        if one.name not in options and one.default is MISSING and one.default_factory is MISSING:
            raise UsageError(f"{where} lacks {one.name}")


def flattened(table: Mapping[str, object], prefix: str = "") -> Settings:
    """The values of a table and of its inner tables, by dotted name."""
    flat = {}
    for key, value in table.items():
        flat.update(flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
