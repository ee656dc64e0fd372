"""From a file of features to imported ones: read, checked against the split's images, put into its order, kept.

A file says in one of two ways which images its features are of: with the split's fingerprint (rows in the split's order, or
numbered in `row`), or with the name of each row's image (`source`, in any order). One that says neither is refused: features
of other images, or of the same ones in another order, give accuracies too.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.decoding import Undecodable, decode
from ...core.errors import UsageError, UserError, listed
from ...core.progress import Progress
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split, split_name
from ...tasks.datasets.store import sources_of
from ..records.sections import Encoded
from .exchange import FeatureContents, read_contents
from .imported import ImportedSplit, Maker, Texts, check_name, store

UNIT = 1e-5  # lengths that differ from 1 by less are left as they are


@dataclass(frozen=True)
class Metadata:
    """A file's entry `metadata`; all of it may be absent in a file that was made elsewhere."""

    backbone: Maker = Maker()
    encoded: Encoded | None = None
    texts: tuple[Texts, ...] = ()


def import_features(
    path: Path, name: str, dataset: Dataset, split: str | None, progress: Progress, overwrite: bool = False
) -> ImportedSplit:
    """Import a file.

    Args:
        path: `.npz`, `.safetensors` or `.parquet`; see `exchange` for what it holds.
        name: that `--backbone imported:NAME` will take.
        dataset: whose images the features are of.
        split: train, val or test; None takes what the file says.
        progress: told of long work.
        overwrite: put these in the place of others of the same name.

    Raises:
        UsageError: the name cannot be one, is another backbone's, or the split is not known.
        UserError: the file is damaged, features are missing or not finite, or they are of other images.
    """
    check_name(name)
    contents, where = read_contents(path), str(path)
    metadata, made_by = _metadata(contents, where)
    chosen = _split(contents, dataset, split, where)
    opened = dataset.split(chosen, progress)
    features = in_split_order(contents, opened, sources_of(dataset.folder() / chosen), where)
    texts = [(one, _text_features(contents, f"text.{i}", one, features, where)) for i, one in enumerate(metadata.texts)]
    return store(name, dataset, chosen, opened.fingerprint, features, texts, made_by, metadata.encoded, overwrite, progress)


def _metadata(contents: FeatureContents, where: str) -> tuple[Metadata, Mapping[str, object]]:
    """A file's description of its features and of the backbone."""
    try:
        content = json.loads(contents.entries.get("metadata", "{}"))
        metadata = decode(Metadata, content, "metadata")
        made_by = decode(dict[str, object], content.get("backbone", {}), "metadata.backbone")
    except Undecodable as error:
        raise UserError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: its entry 'metadata' is not JSON ({error})") from error
    if not all(text.templates and text.class_names for text in metadata.texts):
        raise UserError(f"{where}: metadata.texts has no templates or no class names")
    if (metadata.backbone.network_parameters or 0) < 0:
        raise UserError(f"{where}: metadata.backbone.network_parameters is negative")
    return metadata, made_by


def _split(contents: FeatureContents, dataset: Dataset, split: str | None, where: str) -> str:
    """Which split the file is of, as far as the file and the user say."""
    of_dataset, of_split = contents.entries.get("dataset"), contents.entries.get("split")
    if of_dataset not in (None, dataset.name):
        raise UsageError(f"{where}: features of {of_dataset}, not of {dataset.name}; name it with --dataset")
    if split is None and of_split is None:
        raise UsageError(f"{where}: it does not say of which class split it is; name it with --split")
    if None not in (split, of_split) and split != of_split:
        raise UsageError(f"{where}: features of the {of_split} split, not of {split}; leave --split out")
    try:
        return split_name(split or of_split or "")
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


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
    features, what = _checked(contents, where), f"the {split.name} split of {split.dataset}"
    theirs = contents.entries.get("fingerprint")
    if theirs not in (None, split.fingerprint):
        said = f"fingerprint {theirs[:12]}…, not {split.fingerprint[:12]}…"
        raise UserError(f"{where}: made from other images than {what} ({said})")
    position = {source: row for row, source in enumerate(sources)}
    named = len(position) == len(split.images)  # each image by a name of its own
    if named and "source" in contents.arrays:
        order = _order([str(one) for one in contents.arrays["source"]], position, where, what)
    elif theirs is None:
        needed = "neither fingerprint nor source says" if named else "no fingerprint says"
        raise UserError(f"{where}: {needed} which images these are; bench features template writes a list with both")
    elif "row" in contents.arrays:
        rows = contents.arrays["row"]
        if rows.dtype.kind not in "iu":
            raise UserError(f"{where}: 'row' holds {rows.dtype}, not whole numbers")
        order = _order(rows.tolist(), {row: row for row in range(len(split.images))}, where, what)
    elif len(features) != len(split.images):
        raise UserError(f"{where}: features of {len(features)} images; {what} has {len(split.images)}")
    else:
        order = np.arange(len(features))
    if "class_id" in contents.arrays:
        found = np.asarray(contents.arrays["class_id"], dtype=object)[order]
        for row, (mine, other) in enumerate(zip(np.repeat(split.class_ids, np.diff(split.offsets)), found, strict=True)):
            if str(other) != mine:
                raise UserError(f"{where}: row {row} of {split.dataset} {split.name} is of class {mine}, not {other}")
    return features if (np.diff(order) == 1).all() else features[order]


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
    with np.errstate(over="ignore"):  # what overflows is told as infinite
        stored = features if features.dtype == np.float16 else features.astype(np.float32, copy=False)
    finite = np.isfinite(stored).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise UserError(f"{where}: features that are NaN or infinite in {len(rows)} rows: {listed(rows)} (counted from 0)")
    for name in ("row", "source", "class_id"):
        column = contents.arrays.get(name)
        if column is not None and np.shape(column) != (len(features),):
            raise UserError(f"{where}: '{name}' has the shape {list(np.shape(column))}, and there are {len(features)} features")
    return stored


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


def _text_features(contents: FeatureContents, key: str, texts: Texts, features: np.ndarray, where: str) -> np.ndarray:
    """The features of class names, float32 [C, D], scaled to length 1."""
    found, shape = contents.arrays.get(key), (len(texts.class_names), features.shape[1])
    if found is None or found.shape != shape or found.dtype.kind != "f":
        have = "none there" if found is None else f"{found.dtype} {list(found.shape)}"
        raise UserError(f"{where}: the features of class names '{key}' should be numbers {list(shape)}; they are {have}")
    vectors = found.astype(np.float32)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise UserError(f"{where}: features of class names in '{key}' that are zero, NaN or infinite")
    return vectors if (abs(lengths - 1) <= UNIT).all() else (vectors / lengths).astype(np.float32)
