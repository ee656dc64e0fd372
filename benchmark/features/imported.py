"""Features that were imported: the folder of each split below `imported/NAME` in the cache folder.

    imported/NAME/<dataset>/<split>/
        features.npy    float16 or float32 [n, D], in the split's order
        text.0.npy, …   float32 [C, D] of length 1, one for each set of prompts
        import.json     of which images, what made them, and a hash of all arrays

A folder appears at once or not at all. Unlike what is encoded here, a damaged one cannot be made again: it is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UsageError, UserError, did_you_mean
from ...core.files import cache_root, folder_at_once, remove_folder, sha256_of, write_atomically
from ...core.progress import SILENT, Progress
from ...core.resumable import alone
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.store import stamp

ROOT, FEATURES, ABOUT = "imported", "features.npy", "import.json"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+=-]|\.(?!\.)){0,63}")  # a folder's name, never a way out of its folder
KEYS = frozenset("dataset split fingerprint shape dtype made_by encoded texts sha256 stamps".split())  # of import.json
SAME = ("name", "parameters", "weights_sha256")  # of what made features that go together


@dataclass(frozen=True)
class ImportedText:
    """Features of class names.

    Attributes:
        templates: the prompts that the names were put into.
        class_names: as they were put there.
        features: float32 [C, D], each row of length 1.
    """

    templates: tuple[str, ...]
    class_names: tuple[str, ...]
    features: np.ndarray


@dataclass(frozen=True)
class ImportedSplit:
    """The imported features of one split.

    Attributes:
        folder: where they are.
        about: what `import.json` says: `dataset`, `split`, `fingerprint`, `shape`, `dtype`, `sha256`, `made_by` (the
            backbone, as far as the file described it), `encoded` and `texts`.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def features(self) -> np.ndarray:
        """float16 or float32 [n, D], memory-mapped."""
        return np.load(self.folder / FEATURES, mmap_mode="r", allow_pickle=False)

    @property
    def texts(self) -> list[ImportedText]:
        """The features of class names, one for each set of prompts."""
        return [
            ImportedText(tuple(text["templates"]), tuple(text["class_names"]), np.load(self.folder / text_file(number)))
            for number, text in enumerate(self.about["texts"])
        ]


def text_file(number: int) -> str:
    """Name of the file with the features of the class names in one set of prompts."""
    return f"text.{number}.npy"


def check_name(name: str) -> str:
    """Refuse what is no name of an import.

    Raises:
        UsageError: it could lead out of the folder, or some file system does not take it.
    """
    if not NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(f"'{name}' cannot name imported features; take letters, digits and . _ + = -, a letter or digit first")
    return name


def folder_of(name: str, dataset: Dataset, split: str) -> Path:
    """Where the features of a split of a dataset, with its parameters, are kept."""
    return cache_root() / ROOT / check_name(name) / dataset.folder().name / split


def names() -> list[str]:
    """What was imported."""
    return sorted(path.name for path in (cache_root() / ROOT).glob("*") if NAME.fullmatch(path.name))


def splits_of(name: str) -> Iterator[ImportedSplit]:
    """Everything that was imported under a name and can be read."""
    for folder in sorted((cache_root() / ROOT / check_name(name)).glob("*/*")):
        about = None if folder.name.startswith(".") else _read(folder)  # a point begins what is in the making
        if about is not None:
            yield ImportedSplit(folder, about)


def store(
    name: str,
    dataset: Dataset,
    about: Mapping[str, Any],
    features: np.ndarray,
    texts: Sequence[ImportedText],
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ImportedSplit:
    """Keep the features of a split.

    Args:
        name: that `--backbone imported:NAME` will take.
        dataset: of the split.
        about: `split`, `fingerprint`, `made_by` and `encoded`.
        features: float16 or float32 [n, D], in the split's order.
        texts: features of class names.
        overwrite: put these in the place of others.
        progress: told where nothing is done.

    Raises:
        UsageError: there are others under that name, of another width or another backbone, or of this split.
        UserError: the cache folder cannot be written.
    """
    folder = folder_of(name, dataset, about["split"])
    with alone(folder, lambda: progress.say(f"another process imports {name}; waiting")):
        _check_fits(name, folder, features.shape[1], about["made_by"])
        with folder_at_once(folder) as temporary:
            np.save(temporary / FEATURES, features)
            for number, text in enumerate(texts):
                np.save(temporary / text_file(number), text.features)
            described = [{"templates": [*text.templates], "class_names": [*text.class_names]} for text in texts]
            content = {
                **about,
                "dataset": dataset.name,
                "dataset_version": dataset.version,
                "shape": list(features.shape),
                "dtype": features.dtype.name,
                "texts": described,
            }
            content["sha256"], content["stamps"] = _digest(temporary, content), _stamps(temporary, content)
            (temporary / ABOUT).write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
            earlier = _read(folder)
            same = earlier is not None and earlier["sha256"] == content["sha256"]
            if earlier is not None and {**earlier, "stamps": None} == {**content, "stamps": None} and _sound(folder, earlier):
                progress.say(f"{name} has these features of {dataset.name} {about['split']} already; nothing was written")
            elif earlier is not None and not overwrite and not same:
                raise UsageError(
                    f"--name {name}: other features of {dataset.name} {about['split']} are imported under that name; "
                    "take another name, or replace them with --overwrite"
                )
            else:
                remove_folder(folder)
    return ImportedSplit(folder, content)


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
    folder = folder_of(name, dataset, split)
    if not folder.is_dir():
        if name not in names():
            raise UsageError(f"backbone imported:{name}: nothing was imported under that name; {did_you_mean(name, names())}")
        raise UsageError(
            f"backbone imported:{name}: no features of {dataset.name} {split} were imported{why}; "
            f"bench features import FILE --dataset {dataset.name} --split {split} --name {name}"
        )
    about = _read(folder)
    if about is None or not _sound(folder, about):
        raise UserError(f"backbone imported:{name}: the features in {folder} are damaged; import their file again")
    return ImportedSplit(folder, about)


def _check_fits(name: str, folder: Path, width: int, made_by: Mapping[str, Any]) -> None:
    """One name is one backbone, whatever the split."""
    for other in splits_of(name):
        if other.folder == folder:
            continue
        if other.about["shape"][1] != width:
            raise UsageError(
                f"--name {name}: {width} numbers an image; those of {other.about['dataset']} {other.about['split']} have "
                f"{other.about['shape'][1]}: take another name for another backbone"
            )
        theirs = other.about["made_by"]
        for key in SAME:
            if None not in (mine := made_by.get(key), before := theirs.get(key)) and mine != before:
                raise UsageError(
                    f"--name {name}: features of another backbone than those of {other.about['dataset']} "
                    f"{other.about['split']} ({key} {mine} and {before}); take another name"
                )


def _files(about: Mapping[str, Any]) -> list[str]:
    return [FEATURES, *(text_file(number) for number in range(len(about["texts"])))]


def _stamps(folder: Path, about: Mapping[str, Any]) -> list[list[int]]:
    return [stamp(folder / file) for file in _files(about)]


def _digest(folder: Path, about: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of the features; where there are features of texts, of these with their prompts and names too."""
    hashes = [sha256_of(folder / file) for file in _files(about)]
    return hashlib.sha256(json.dumps([hashes, about["texts"]]).encode()).hexdigest() if about["texts"] else hashes[0]


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.keys() >= KEYS else None


def _sound(folder: Path, about: dict[str, Any]) -> bool:
    """Whether the arrays are as they were written; a copied folder has other times, and then their hash decides."""
    try:
        now = _stamps(folder, about)
        if now == about["stamps"]:
            return True
        if _digest(folder, about) != about["sha256"]:
            return False
    except (OSError, KeyError, TypeError):
        return False
    with suppress(UserError):  # a cache that cannot be written is read all the same
        write_atomically(folder / ABOUT, json.dumps({**about, "stamps": now}, indent=1, sort_keys=True).encode())
    return True
