"""Testbeds as files: Parquet, or CSV with the columns that Bennequin et al. 2022 published.

Both have one row for each image (or for each class, in a testbed of classes only) and these columns:

    task        number of the task
    variance    coarsity of the task
    labels      class of the image, a number in the split's class list
    image_id    row of the image in the split
    support     whether the image is in the support

Only Parquet also holds dataset, split, fingerprint, parameters, seed and a hash of the indices.
"""

from __future__ import annotations

import importlib
import io
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.decoding import decode
from ..core.errors import UsageError, UserError
from ..core.files import os_errors_named, regular_file, write_atomically
from .episodes import ABSENT, EpisodeBatch, check_tasks
from .testbed import Testbed

ABOUT = b"fewbench.testbed"  # key of the metadata in a Parquet file
CLASS_COLUMNS = ["task", "variance", "labels"]
IMAGE_COLUMNS = [*CLASS_COLUMNS, "image_id", "support"]
LARGEST = 2**31 - 1  # limit of class and image numbers, which are hashed as 32-bit integers
PADDING = 16  # limit of the padded batch: at most PADDING places for each row of the file, plus SPARE
SPARE = 2**20


@dataclass(frozen=True)
class About:
    """What a Parquet file says of its testbed; a CSV file says nothing."""

    parameters: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    dataset: str | None = None
    split: str | None = None
    fingerprint: str | None = None
    sha256: str | None = None


def write_testbed(path: Path, testbed: Testbed) -> None:
    """Write a testbed as `.parquet` or `.csv`.

    Raises:
        UsageError: the suffix is another one.
        UserError: the file cannot be written, or Parquet's library is not installed.
    """
    table = _table(testbed)
    if _suffix(path) == ".csv":
        write_atomically(path, table.to_csv(lineterminator="\n").encode())
        return
    arrow, parquet = _arrow()
    about = {one.name: getattr(testbed, one.name) for one in fields(About)}
    content = arrow.Table.from_pandas(table, preserve_index=False)
    buffer = io.BytesIO()
    parquet.write_table(content.replace_schema_metadata({ABOUT: json.dumps(about, sort_keys=True)}), buffer)
    write_atomically(path, buffer.getvalue())


def read_testbed(path: Path) -> Testbed:
    """Read a testbed from `.parquet` or `.csv`.

    Raises:
        UsageError: the suffix is another one.
        UserError: the file cannot be read, is not a testbed, has queries and a task that a method cannot be judged by
            (`check_tasks`), was changed after it was made, or Parquet's library is not installed.
    """
    about = About()
    try:
        with os_errors_named("cannot read"):
            if _suffix(path) == ".csv":
                table = pd.read_csv(regular_file(path))
            else:
                table, about = _read_parquet(path)
    except ValueError as error:  # also the base of the errors of pandas, pyarrow and JSON
        raise UserError(f"{path}: no testbed ({str(error).splitlines()[0]})") from error
    columns = _checked(table, path)
    episodes = _episodes(columns, path)
    if episodes.query.size:  # published files have supports alone, which can be described, not run on
        try:
            check_tasks(replace(episodes, index=np.unique(columns["task"])))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    testbed = Testbed(
        episodes, _first_of_each_task(columns), about.parameters, about.seed, about.dataset, about.split, about.fingerprint
    )
    if about.sha256 not in (None, testbed.sha256):
        raise UserError(f"{path}: the testbed was changed after it was made: its hash does not match; make it again")
    return testbed


def _suffix(path: Path) -> str:
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{path}: a testbed is a file ending in .parquet or .csv")
    return path.suffix


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError("testbeds in Parquet need pyarrow: pip install pyarrow, or give the testbed the suffix .csv") from error


def _read_parquet(path: Path) -> tuple[pd.DataFrame, About]:
    _, parquet = _arrow()
    with regular_file(path).open("rb") as file:
        content = parquet.read_table(file)
    about = (content.schema.metadata or {}).get(ABOUT)
    if about is None:
        raise ValueError("it was not written by fewbench")
    return content.to_pandas(), decode(About, json.loads(about))


def _table(testbed: Testbed) -> pd.DataFrame:
    """One row for each image, sorted by task and class, with queries before support, as in the published files."""
    batch = testbed.episodes
    if testbed.classes_only:
        task, place = np.nonzero(batch.classes != ABSENT)
        columns = (task, testbed.coarsity[task], batch.classes[task, place])
        return pd.DataFrame(dict(zip(CLASS_COLUMNS, columns, strict=True)))
    parts = []
    for rows, labels, is_support in ((batch.support, batch.support_labels, True), (batch.query, batch.query_labels, False)):
        task, place = np.nonzero(labels != ABSENT)
        label = batch.classes[task, labels[task, place]]
        columns = (task, testbed.coarsity[task], label, rows[task, place], np.full(len(task), is_support))
        parts.append(pd.DataFrame(dict(zip(IMAGE_COLUMNS, columns, strict=True))))
    return pd.concat(parts).sort_values(["task", "labels", "support"], kind="stable", ignore_index=True)


def _checked(table: pd.DataFrame, path: Path) -> dict[str, np.ndarray]:
    """Check the table, and return its columns sorted by task."""
    names = IMAGE_COLUMNS if "image_id" in table else CLASS_COLUMNS
    missing = [name for name in names if name not in table]
    if missing:
        raise UserError(f"{path}: no testbed, it has no column '{missing[0]}'")
    if not len(table):
        raise UserError(f"{path}: the testbed has no tasks")
    columns = {name: table.sort_values("task", kind="stable")[name].to_numpy() for name in names}
    for name, kinds in (("task", "iu"), ("labels", "iu"), ("image_id", "iu"), ("variance", "iuf"), ("support", "b")):
        column = columns.get(name)
        if column is None:
            continue
        largest = float(np.finfo(np.float32).max) if kinds == "iuf" else LARGEST  # records keep coarsities as float32
        if column.dtype.kind not in kinds or not ((column >= 0) & (column <= largest)).all():
            what = {"b": "True or False", "iuf": "a number from 0 to 3e38"}.get(kinds, f"a whole number from 0 to {LARGEST}")
            row = next((row for row, value in enumerate(column.tolist()) if not _fits(value, kinds, largest)), 0)
            task = "a task" if name == "task" else f"task {columns['task'][row]}"
            raise UserError(f"{path}: no testbed, {task} has {str(column[row])!r} for '{name}', which is not {what}")
    thing = "image_id" if "image_id" in columns else "labels"
    twice = pd.DataFrame({name: columns[name] for name in ("task", thing)}).duplicated().to_numpy()
    if twice.any():
        what = "image" if thing == "image_id" else "class"
        raise UserError(f"{path}: task {columns['task'][twice.argmax()]} names the same {what} twice")
    return columns


def _fits(value: Any, kinds: str, largest: float) -> bool:
    """Whether a value is a number of the kinds that a column has, or text of one."""
    if kinds == "b":
        return str(value) in ("True", "False")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return 0 <= number <= largest and (kinds == "iuf" or number.is_integer())


def _first_of_each_task(columns: dict[str, np.ndarray]) -> np.ndarray:
    _, first = np.unique(columns["task"], return_index=True)
    return columns["variance"][first].astype(np.float64)


def _episodes(columns: dict[str, np.ndarray], path: Path) -> EpisodeBatch:
    """Make a batch from the columns. Classes ascend within a task, and the images of a class keep their order."""
    numbers, task, lengths = np.unique(columns["task"], return_inverse=True, return_counts=True)
    if len(numbers) * int(lengths.max()) > PADDING * len(task) + SPARE:
        longest = int(lengths.argmax())
        raise UserError(
            f"{path}: task {numbers[longest]} has {lengths[longest]} rows and most others have few; padded to it, all "
            f"{len(numbers)} tasks would not fit in memory: put it into a testbed of its own"
        )
    named, number = np.unique(columns["labels"], return_inverse=True)
    pairs, pair = np.unique(task * len(named) + number, return_inverse=True)  # (task, class) as one number, sorted
    pair_task, pair_class = pairs // len(named), named[pairs % len(named)]
    place = _count_within(pair_task)  # the label that a class has within its task
    shape = (int(task.max()) + 1, int(place.max()) + 1)
    classes = np.full(shape, ABSENT, dtype=np.int64)
    classes[pair_task, place] = pair_class
    if "image_id" not in columns:
        nothing = np.empty((shape[0], 0), dtype=np.int64)
        return EpisodeBatch(nothing, nothing, nothing, nothing, classes, np.arange(shape[0]))
    (support, support_labels), (query, query_labels) = (
        _pack(task[chosen], place[pair[chosen]], pair[chosen], columns["image_id"][chosen], shape[0])
        for chosen in (columns["support"], ~columns["support"])
    )
    return EpisodeBatch(support, support_labels, query, query_labels, classes, np.arange(shape[0]))


def _pack(task: np.ndarray, label: np.ndarray, pair: np.ndarray, row: np.ndarray, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels, int64 [E, S], of the support or the queries: shot-major, and padded at the end."""
    by_pair = np.argsort(pair, kind="stable")
    shot = np.empty(len(row), dtype=np.int64)
    shot[by_pair] = _count_within(pair[by_pair])
    order = np.lexsort((label, shot, task))
    task, column = task[order], _count_within(task[order])
    rows = np.zeros((tasks, column.max(initial=-1) + 1), dtype=np.int64)
    labels = np.full_like(rows, ABSENT)
    rows[task, column] = row[order]
    labels[task, column] = label[order]
    return rows, labels


def _count_within(groups: np.ndarray) -> np.ndarray:
    """For each of the sorted group numbers, the count of equal ones before it."""
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))
