"""Whether features from elsewhere are those of a split's images, and which row is which image's.

A file says it in one of two ways: with the split's fingerprint (rows in the split's order, or numbered in `row`), or with the
name of each row's image (`source`, in any order). One that says neither is refused: features of other images, or of the same
ones in another order, give accuracies too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import UserError, listed
from ...tasks.datasets import store
from ...tasks.datasets.base import Dataset, Split
from .exchange import FeatureContents

COLUMNS = ("row", "class_id", "class_name", "source", "fingerprint")


def sources_of(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """The name of each row's image (a file, or how it was made); empty for a dataset that names none."""
    text = (dataset.folder() / split.name / store.SOURCES).read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])


def in_split_order(contents: FeatureContents, split: Split, sources: Sequence[str], where: str) -> np.ndarray:
    """The features of a file, one row an image, in the split's order.

    Args:
        contents: of the file.
        split: whose images these should be.
        sources: the name of each row's image, or empty.
        where: the file, for messages.

    Returns:
        float16 or float32 [n, D].

    Raises:
        UserError: there are no features, some are missing or not finite, or they are of other images.
    """
    features = _checked(contents, where)
    what = f"the {split.name} split of {split.dataset}"
    theirs = contents.entries.get("fingerprint")
    if theirs not in (None, split.fingerprint):
        raise UserError(
            f"{where}: made from other images than {what} (fingerprint {theirs[:12]}…, not {split.fingerprint[:12]}…)"
        )
    position = {source: row for row, source in enumerate(sources)}
    named = len(position) == len(split.images)  # each image by a name of its own
    if named and "source" in contents.arrays:
        order = _order([str(one) for one in contents.arrays["source"]], position, where, what)
    elif theirs is None:
        needed = "neither fingerprint nor source says" if named else "no fingerprint says"
        raise UserError(f"{where}: {needed} which images these are; bench features template writes a list with both")
    elif "row" in contents.arrays:
        numbers = _whole_numbers(contents.arrays["row"], where)
        order = _order(numbers, {row: row for row in range(len(split.images))}, where, what)
    elif len(features) != len(split.images):
        raise UserError(f"{where}: features of {len(features)} images; {what} has {len(split.images)}")
    else:
        order = np.arange(len(features))
    _check_classes(contents, split, order, where)
    return features if (np.diff(order) == 1).all() else features[order]


def template(split: Split, sources: Sequence[str]) -> str:
    """A CSV list of a split's images, for whoever encodes them elsewhere: `COLUMNS`, one line a row."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(COLUMNS)
    for row, label in enumerate(split.labels.tolist()):
        source = sources[row] if sources else ""
        lines.writerow([row, split.class_ids[label], split.class_names[label], source, split.fingerprint])
    return buffer.getvalue()


def _checked(contents: FeatureContents, where: str) -> np.ndarray:
    """The features as they will be stored; what else there is has as many rows."""
    features = contents.arrays.get("features")
    if features is None:
        raise UserError(f"{where}: no array 'features' in it, only {listed(contents.arrays) or 'none at all'}")
    features = np.asarray(features)
    if features.dtype.kind != "f":
        raise UserError(f"{where}: 'features' are {features.dtype}, not floating-point numbers")
    if features.ndim != 2 or 0 in features.shape:
        raise UserError(f"{where}: 'features' have the shape {list(features.shape)}; they should be [images, width]")
    stored = features if features.dtype == np.float16 else _as_float32(features)
    finite = np.isfinite(stored).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise UserError(f"{where}: features that are NaN or infinite in {len(rows)} rows: {listed(rows)} (counted from 0)")
    for name in ("row", "source", "class_id"):
        column = contents.arrays.get(name)
        if column is not None and np.shape(column) != (len(features),):
            raise UserError(f"{where}: '{name}' has the shape {list(np.shape(column))}, and there are {len(features)} features")
    return stored


def _as_float32(features: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is told as infinite
        return features.astype(np.float32, copy=False)


def _whole_numbers(rows: np.ndarray, where: str) -> list[int]:
    if rows.dtype.kind not in "iu":
        raise UserError(f"{where}: 'row' holds {rows.dtype}, not whole numbers")
    return rows.tolist()


def _order(named: Sequence[Hashable], position: Mapping[Any, int], where: str, what: str) -> np.ndarray:
    """For each row of the split the row of the file, int64 [n].

    Args:
        named: what each row of the file is called.
        position: what each row of the split is called, in its order.
        where: the file.
        what: the split.
    """
    order = np.full(len(position), -1)
    for at, name in enumerate(named):
        row = position.get(name)
        if row is None:
            raise UserError(f"{where}: {name!r} is no image of {what}")
        if order[row] >= 0:
            raise UserError(f"{where}: features of {name!r} stand there twice")
        order[row] = at
    missing = [name for name, row in position.items() if order[row] < 0]
    if missing:
        raise UserError(f"{where}: no features of {len(missing)} of the {len(order)} images of {what}: {listed(missing)}")
    return order


def _check_classes(contents: FeatureContents, split: Split, order: np.ndarray, where: str) -> None:
    if "class_id" not in contents.arrays:
        return
    theirs = np.asarray(contents.arrays["class_id"], dtype=object)[order]
    for row, (mine, found) in enumerate(zip(np.repeat(split.class_ids, np.diff(split.offsets)), theirs, strict=True)):
        if str(found) != mine:
            raise UserError(f"{where}: row {row} of {split.dataset} {split.name} is of class {mine}, not {found}")
