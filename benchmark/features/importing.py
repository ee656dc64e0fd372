"""From a file of features to imported ones: read, checked against the split's images, put into its order, kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UsageError, UserError
from ...core.progress import Progress
from ...tasks.datasets.base import Dataset, split_name
from ..records.schema import SHAPE, MayLack, OrNull, problem
from .exchange import FeatureContents, read_contents
from .imported import ImportedSplit, ImportedText, check_name, store
from .order import in_split_order, sources_of

METADATA: dict[str, Any] = {  # all of it may be absent in a file that was made elsewhere; further keys are allowed
    "backbone": MayLack(
        {
            "name": MayLack(str),
            "weights_sha256": MayLack(str),
            "source_sha256": MayLack(str),
            "network_parameters": MayLack(int),
            "preprocess": MayLack(OrNull(dict)),
            "pretraining": MayLack(OrNull(SHAPE["backbone"]["pretraining"].shape)),
        }
    ),
    "encoded": SHAPE["timing"]["encoding"],
    "texts": MayLack(list),
}
TEXT = {"templates": list, "class_names": list}
UNIT = 1e-5  # lengths that differ from 1 by less are left as they are


def import_features(
    path: Path, name: str, dataset: Dataset, split: str | None, progress: Progress, overwrite: bool = False
) -> ImportedSplit:
    """Import a file.

    Args:
        path: `.npz`, `.safetensors` or `.parquet`; see `feature_exchange` for what it holds.
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
    metadata = _metadata(contents, where)
    chosen = _split(contents, dataset, split, where)
    opened = dataset.split(chosen, progress)
    features = in_split_order(contents, opened, sources_of(dataset, opened), where)
    texts = _texts(contents, metadata.get("texts", []), features.shape[1], where)
    about = {
        "split": chosen,
        "fingerprint": opened.fingerprint,
        "made_by": metadata.get("backbone", {}),
        "encoded": metadata.get("encoded"),
    }
    return store(name, dataset, about, features, texts, overwrite, progress)


def _metadata(contents: FeatureContents, where: str) -> dict[str, Any]:
    try:
        metadata = json.loads(contents.entries.get("metadata", "{}"))
    except ValueError as error:
        raise UserError(f"{where}: its entry 'metadata' is not JSON ({error})") from error
    found = problem(metadata, METADATA, "metadata")
    if found:
        raise UserError(f"{where}: {found}")
    return metadata


def _split(contents: FeatureContents, dataset: Dataset, split: str | None, where: str) -> str:
    """Which split the file is of, as far as the file and the user say."""
    of_dataset, of_split = contents.entries.get("dataset"), contents.entries.get("split")
    if of_dataset not in (None, dataset.name):
        raise UsageError(f"{where}: features of {of_dataset}, not of {dataset.name}; name it with --dataset")
    if split is None and of_split is None:
        raise UsageError(f"{where}: it does not say of which class split it is; name it with --split")
    if None not in (split, of_split) and split != of_split:
        raise UsageError(f"{where}: features of the {of_split} split, not of {split}; leave --split out")
    return split_name(split or of_split or "")


def _texts(contents: FeatureContents, described: list[Mapping[str, Any]], width: int, where: str) -> list[ImportedText]:
    """The features of class names, scaled to length 1."""
    texts = []
    for number, about in enumerate(described):
        place = f"metadata.texts[{number}]"
        found = problem(about, TEXT, place)
        if found:
            raise UserError(f"{where}: {found}")
        if not all(isinstance(text, str) for key in TEXT for text in about[key]):
            raise UserError(f"{where}: {place} holds something other than text")
        features = contents.arrays.get(f"text.{number}")
        shape = (len(about["class_names"]), width)
        if features is None or features.shape != shape or features.dtype.kind != "f":
            have = "none there" if features is None else f"{features.dtype} {list(features.shape)}"
            raise UserError(
                f"{where}: the features of class names 'text.{number}' should be numbers {list(shape)}; they are {have}"
            )
        vectors = features.astype(np.float32)
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or (lengths == 0).any():
            raise UserError(f"{where}: features of class names in 'text.{number}' that are zero, NaN or infinite")
        if (abs(lengths - 1) > UNIT).any():
            vectors = (vectors / lengths).astype(np.float32)
        texts.append(ImportedText(tuple(about["templates"]), tuple(about["class_names"]), vectors))
    return texts
