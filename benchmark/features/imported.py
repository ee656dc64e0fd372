"""Features that were imported: an entry of the cache for each split, `imported/NAME/<dataset>/<split>`.

Its files are `features.npy` (float16 or float32 [n, D], in the split's order) and, for each set of prompts, `text.0.npy`, …
(float32 [C, D] of length 1). Unlike what is encoded here, a damaged one cannot be made again: it is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.cache import Damaged, Entry, Kept
from ...core.decoding import decode
from ...core.errors import UsageError, UserError, did_you_mean
from ...core.files import cache_root
from ...core.progress import SILENT, Progress
from ...core.unfinished import Unfinished, npy_header
from ...tasks.datasets.base import Dataset
from ..records.answerer import NetworkInput, Pretraining
from ..records.sections import Encoded
from .table import FEATURES

ROOT = "imported"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+=-]|\.(?!\.)){0,63}")  # a folder's name, never a way out of its folder
SAME = ("name", "parameters", "weights_sha256")  # of what made features that go together


@dataclass(frozen=True)
class Texts:
    """Texts that were encoded.

    Attributes:
        templates: the prompts that the names were put into.
        class_names: as they were put there.
    """

    templates: tuple[str, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Maker:
    """The backbone that made features, as far as their file says it."""

    name: str | None = None
    weights_sha256: str | None = None
    code: str | None = None
    network_parameters: int | None = None
    preprocess: NetworkInput | None = None
    pretraining: Pretraining | None = None


@dataclass(frozen=True)
class Imported:
    """The description of an import, kept with the arrays.

    Attributes:
        dataset: whose images were encoded.
        dataset_version: of the dataset.
        split: train, val or test.
        fingerprint: of the images.
        shape: [n, D].
        dtype: of the features.
        sha256: of the features; where there are features of texts, of these with their prompts and names too.
        made_by: all that the file says of the backbone, of which `maker` is the known part.
        encoded: how the features were made, as far as the file says it.
        texts: of each array of text features.
    """

    dataset: str
    dataset_version: str
    split: str
    fingerprint: str
    shape: tuple[int, int]
    dtype: str
    sha256: str
    made_by: Mapping[str, object]
    encoded: Encoded | None
    texts: tuple[Texts, ...]

    @property
    def maker(self) -> Maker:
        """The backbone."""
        return decode(Maker, self.made_by)


ImportedSplit = Kept[Imported]


def text_file(number: int) -> str:
    """Name of the file with the features of the class names in one set of prompts."""
    return f"text.{number}.npy"


def check_name(name: str) -> str:
    """Check the name of an import.

    Raises:
        UsageError: it could lead out of the folder, or some file system does not take it.
    """
    if not NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(f"'{name}' cannot name imported features; take letters, digits and . _ + = -, a letter or digit first")
    return name


def names() -> list[str]:
    """The names of all imports, sorted."""
    return sorted(path.name for path in (cache_root() / ROOT).glob("*") if NAME.fullmatch(path.name))


def splits_of(name: str) -> Iterator[ImportedSplit]:
    """Everything that was imported under a name and is whole."""
    for folder in sorted((cache_root() / ROOT / check_name(name)).glob("*/[!.]*")):
        found = Entry(folder, Imported).sound()
        if found is not None:
            yield found


def store(
    name: str,
    dataset: Dataset,
    split: str,
    fingerprint: str,
    features: np.ndarray,
    texts: Sequence[tuple[Texts, np.ndarray]] = (),
    made_by: Mapping[str, object] | None = None,
    encoded: Encoded | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ImportedSplit:
    """Keep the features of a split.

    Args:
        name: that `--backbone imported:NAME` will take.
        dataset: of the split.
        split: train, val or test.
        fingerprint: of its images.
        features: float16 or float32 [n, D], in the split's order.
        texts: class names in prompts, and their features, float32 [C, D] of length 1.
        made_by: the backbone, as far as it is known.
        encoded: how the features were made, where that is known.
        overwrite: put these in the place of others.
        progress: told where nothing is done.

    Raises:
        UsageError: there are others under that name, of another width or another backbone, or of this split.
        UserError: the cache folder cannot be written.
    """
    entry, what = _entry(name, dataset, split), f"{dataset.name} {split}"
    arrays = {FEATURES: np.ascontiguousarray(features), **{text_file(i): array for i, (_, array) in enumerate(texts)}}
    about = Imported(
        dataset=dataset.name,
        dataset_version=dataset.version,
        split=split,
        fingerprint=fingerprint,
        shape=(len(features), features.shape[1]),
        dtype=features.dtype.name,
        sha256=_digest([_npy_sha256(array) for array in arrays.values()], [one for one, _ in texts]),
        made_by=dict(made_by or {}),
        encoded=encoded,
        texts=tuple(one for one, _ in texts),
    )

    def fill(unfinished: Unfinished) -> Imported:
        for file, array in arrays.items():
            np.save(unfinished.folder / file, array)
        return about

    with entry.alone(progress, f"importing {name}"):
        for other in splits_of(name):
            if other.folder != entry.folder:
                _check_fits(name, about, other.about)
        earlier = entry.sound()
        if earlier is not None and earlier.about == about:
            progress.say(f"{name} has these features of {what} already; nothing was written")
            return earlier
        if earlier is not None and not overwrite and earlier.about.sha256 != about.sha256:
            raise UsageError(
                f"--name {name}: other features of {what} are imported under that name; take another name, or replace them "
                "with --overwrite"
            )
        return entry.make(fill)


def open_import(name: str, dataset: Dataset, split: str, why: str = "") -> ImportedSplit:
    """The imported features of a split.

    Args:
        name: of the import.
        dataset: of the split.
        split: train, val or test.
        why: who needs them, for the message where there are none.

    Raises:
        UsageError: nothing was imported under that name, or nothing of this split.
        UserError: what was imported is damaged.
    """
    entry = _entry(name, dataset, split)
    try:
        found = entry.find()
    except Damaged as error:
        cure = "import their file again"
        raise UserError(f"backbone imported:{name}: the features in {entry.folder} are damaged ({error}); {cure}") from error
    if found is not None:
        return found
    if name not in names():
        raise UsageError(f"backbone imported:{name}: nothing was imported under that name; {did_you_mean(name, names())}")
    raise UsageError(
        f"backbone imported:{name}: no features of {dataset.name} {split} were imported{why}; "
        f"bench features import FILE --dataset {dataset.name} --split {split} --name {name}"
    )


def _entry(name: str, dataset: Dataset, split: str) -> Entry[Imported]:
    """Where the features of a split of a dataset, with its parameters, are kept."""
    return Entry(cache_root() / ROOT / check_name(name) / dataset.folder().name / split, Imported)


def _check_fits(name: str, mine: Imported, other: Imported) -> None:
    """One name is one backbone, whatever the split."""
    theirs = f"those of {other.dataset} {other.split}"
    if other.shape[1] != mine.shape[1]:
        raise UsageError(
            f"--name {name}: {mine.shape[1]} numbers an image; {theirs} have {other.shape[1]}: take another name for another "
            "backbone"
        )
    for key in SAME:
        here, there = mine.made_by.get(key), other.made_by.get(key)
        if None not in (here, there) and here != there:
            raise UsageError(
                f"--name {name}: features of another backbone than {theirs} ({key} {here} and {there}); take another name"
            )


def _digest(hashes: Sequence[str], texts: Sequence[Texts]) -> str:
    """The hash by which a record knows what was imported, of the files' hashes."""
    described = [{"templates": [*text.templates], "class_names": [*text.class_names]} for text in texts]
    return hashlib.sha256(json.dumps([[*hashes], described]).encode()).hexdigest() if texts else hashes[0]


def _npy_sha256(array: np.ndarray) -> str:
    """Hash of the file that `np.save` makes of an array."""
    sha = hashlib.sha256(npy_header(array.shape, array.dtype))
    sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
