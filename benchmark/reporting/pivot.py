"""Tables of records: some fields make the rows, others the columns, and the cells hold accuracies.

A query is text such as

    records=results/records/omniglot/**/*.json rows=method.name columns=task.ways,task.shots where=task.seed:0

Fields are dotted paths into the JSON of a record, or `stages.…`, which is derived from it (stages.py); `task.dataset as data`
names a field. The glob counts from the current folder; `results/` at its beginning is the results folder. `where` keeps the
records in which each field has its value; a field that is named several times may have any of its values. Only complete records
are shown. A parameter that older records do not have, and others leave out at its default, has its default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...core.errors import UserError, did_you_mean, listed
from ...core.options import Settings, parameters_of
from ..built_in import BUILT_IN
from ..config import RESULTS
from ..described import described
from ..records.identity import without_repeats
from ..records.record import RunRecord
from ..records.stages import stages_of
from ..records.store import load_record
from .markdown import accuracy_cell, escaped, table_lines

KEYS = ("records", "rows", "columns", "where")
UNITS = {"ways": "way", "shots": "shot"}  # numbers that have a word of their own: 5-way
FORM = "records=GLOB rows=FIELD columns=FIELD[,FIELD] [where=FIELD:VALUE,...]"
FORM_OF_RECORDS = "records=GLOB [where=FIELD:VALUE,...]"


@dataclass(frozen=True)
class Field:
    """A place in a record.

    Attributes:
        path: dotted path such as `backbone.pretraining.recipe`.
        name: name on the page; "" for the default.
    """

    path: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Field:
        """Read `PATH` or `PATH as NAME`."""
        path, _, name = text.strip().partition(" as ")
        return cls(path.strip(), name.strip())

    @property
    def header(self) -> str:
        """The header of the values: the name, or else the end of the path (for `method.name` it is "method")."""
        *sections, last = self.path.split(".")
        return self.name or (sections[-1] if last == "name" and sections else last)

    def value(self, record: RunRecord) -> Any:
        """The value in a record: text, a number, true or false; None where the record does not have it.

        Raises:
            UserError: the path leads to a section or a list.
        """
        place: Any = _content(record)
        for part in self.path.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping | list):
            inside = f"add one of {', '.join(map(str, place))}" if isinstance(place, Mapping) else "it is a list"
            raise UserError(f"field {self.path} is not a single value; {inside}")
        return place

    def check(self, records: Iterable[RunRecord]) -> None:
        """Check that at least one record has the path (others may lack a parameter, or be older than the field).

        Raises:
            UserError: no record has it; the message suggests the nearest name.
        """
        message = ""
        for record in records:
            place: Any = _content(record)
            for part in self.path.split("."):
                if isinstance(place, Mapping) and part not in place:
                    message = f"no record has the field {self.path}; {did_you_mean(part, place)}"
                    break
                place = place[part] if isinstance(place, Mapping) else None
            else:
                return
        raise UserError(message)

    def label(self, value: Any) -> str:
        """The head of a column: `5-way`, plain text, or the header with the value for other numbers and named fields."""
        last = self.path.rpartition(".")[2]
        if not self.name and last in UNITS and value is not None:
            return f"{value}-{UNITS[last]}"
        return _text(value) if isinstance(value, str) and not self.name else f"{self.header} {_text(value)}"


@dataclass(frozen=True)
class Query:
    """A choice of records, and their layout.

    Attributes:
        records: glob of record files.
        rows: fields whose values make the rows; () for a query without a layout.
        columns: fields whose values make the columns; () likewise.
        where: allowed values by path.
    """

    records: str
    rows: tuple[Field, ...]
    columns: tuple[Field, ...]
    where: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str, laid_out: bool = True) -> Query:
        """Read a query.

        Args:
            text: the query.
            laid_out: whether it has rows and columns.

        Raises:
            UserError: something is missing or unknown.
        """
        known = KEYS if laid_out else (KEYS[0], KEYS[-1])
        parts = [part.partition("=") for part in re.split(r"\s+(?=\w+=)", text.strip())]
        found = {key: value.strip() for key, _, value in parts}
        if len(found) < len(parts) or set(found) - set(known) or not all(found.get(key) for key in known[:-1]):
            raise UserError(f"'{text.strip()}' is not of the form {FORM if laid_out else FORM_OF_RECORDS}")
        where: dict[str, tuple[str, ...]] = {}
        for condition in found.get("where", "").split(",") if "where" in found else ():
            path, colon, value = condition.strip().partition(":")
            if not colon:
                raise UserError(f"where={condition}: write FIELD:VALUE")
            where[path] = (*where.get(path, ()), value)
        rows, columns = (tuple(map(Field.parse, found[key].split(",") if laid_out else ())) for key in ("rows", "columns"))
        return cls(found["records"], rows, columns, where)

    def find(self, results: Path) -> list[tuple[Path, RunRecord]]:
        """Load the complete records that match, in the order of their paths.

        Args:
            results: the folder that `results/` at the beginning of the glob stands for.

        Raises:
            UserError: there are none, a field is unknown, or a record is damaged.
        """
        paths = matching(self.records, results)
        loaded = [(path, load_record(path)) for path in paths]
        wanted = [(Field(path, ""), values) for path, values in self.where.items()]
        for field in (*self.rows, *self.columns, *(field for field, _ in wanted)):
            field.check(record for _, record in loaded)
        found = [
            (path, record)
            for path, record in loaded
            if record.complete and all(_text(field.value(record)) in values for field, values in wanted)
        ]
        if not found:
            raise UserError(f"records={self.records}: none of {len(paths)} records is complete and has the values of where=")
        return found


def matching(glob: str, results: Path) -> list[Path]:
    """The files that a glob names, sorted; it counts from the current folder, but `results/` at its beginning is the folder.

    Raises:
        UserError: there are none, or it is no such glob.
    """
    folder, inside = Path(), glob
    if glob.startswith(f"{RESULTS}/"):
        folder, inside = results, glob.removeprefix(f"{RESULTS}/")
    try:
        paths = sorted(path for path in folder.glob(inside) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"records={glob}: a glob that counts from the current folder ({error})") from error
    if not paths:
        counts = "the current folder" if folder == Path() else f"the results folder {folder}"
        raise UserError(f"records={glob}: no file matches; the glob counts from {counts}")
    return paths


def pivot_of(text: str, results: Path) -> list[str]:
    """The lines of a query's table."""
    query = Query.parse(text)
    return pivot(query, query.find(results))


def pivot(query: Query, records: Sequence[tuple[Path, RunRecord]]) -> list[str]:
    """The lines of a table; rows and columns are sorted by their values, numbers by size.

    Args:
        query: fields of rows and columns.
        records: at least one record, each with its path.

    Raises:
        UserError: a field is no single value, or several runs fall into one cell.
    """
    cells: dict[tuple[tuple, tuple], list[tuple[Path, RunRecord]]] = {}
    for path, record in records:
        row, column = (tuple(field.value(record) for field in wanted) for wanted in (query.rows, query.columns))
        cells.setdefault((row, column), []).append((path, record))
    shown: dict[tuple[tuple, tuple], RunRecord] = {}
    for (row, column), several in cells.items():
        shown[row, column], *others = without_repeats(record for _, record in several)
        if others:
            place, paths = ", ".join(map(_text, (*row, *column))), listed(path for path, _ in several)
            raise UserError(f"several records are {place}: {paths}; add a field to rows or columns, or where=FIELD:VALUE")
    rows = sorted({row for row, _ in cells}, key=_order)
    columns = sorted({column for _, column in cells}, key=_order)
    heads = [field.header for field in query.rows]
    heads += [", ".join(map(Field.label, query.columns, column)) for column in columns]
    body = [
        [*map(_text, row), *(accuracy_cell(shown[row, column]) if (row, column) in shown else "" for column in columns)]
        for row in rows
    ]
    numeric = [False] * len(query.rows) + [True] * len(columns)
    return table_lines([escaped(head) for head in heads], body, numeric)


def _content(record: RunRecord) -> Mapping[str, object]:
    content, stages = record.content, stages_of(record)
    method = {**content["method"], "parameters": {**_left_out(record.method.name), **record.method.parameters}}
    return {**content, "method": method, "stages": {**asdict(stages), "chain": stages.chain}}


@cache
def _left_out(method: str) -> Settings:
    """The parameters that records of a built-in method leave out at their default."""
    if (target := BUILT_IN["methods"].get(method)) is None:
        return {}
    built_in = described(target)
    return {one.name: one.default for one in parameters_of(built_in) if one.name in built_in.later_parameters}


def _text(value: Any) -> str:
    """A value as it stands in a cell and in `where`."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)


def _order(values: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """A sort key: numbers by size, then text by the alphabet, then None."""
    return [(0, value) if isinstance(value, int | float) else (2, "") if value is None else (1, value) for value in values]
