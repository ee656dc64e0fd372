"""Datasets of Hugging Face: from the hub, or local files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from ....core.errors import UsageError, UserError, did_you_mean
from ....core.options import build, parameter
from .base import Indexed
from .counted import Counted, counted_of

FILES = {".parquet": "parquet", ".arrow": "arrow"}  # kinds by suffix
SAVED = ("dataset_dict.json", "dataset_info.json")  # what save_to_disk writes


@dataclass(frozen=True)
class HuggingFace(Indexed):
    """A dataset of Hugging Face (extra hf): hf:NAME on the hub; hf:PATH, a file or folder of parquet, arrow or images."""

    name: ClassVar[str] = "hf:NAME"

    configuration: str = parameter("", "configuration of the dataset, where it has several")
    parts: str = parameter("", "its splits, with commas between them; empty: all that it has")
    image: str = parameter("", "column of the images; empty: the only one of images")
    label: str = parameter("", "column of the labels; empty: the only one of class labels, else the one called label")

    @classmethod
    def from_name(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """The dataset of a name.

        Raises:
            UsageError: an unknown parameter.
        """
        return build(cls.called(name), settings, f"dataset {name}")

    @cached_property
    def counted(self) -> Counted:
        """The images of all splits."""
        try:
            library = importlib.import_module("datasets")
        except ImportError as error:
            raise UserError(f"dataset {self.name} needs the library datasets: pip install 'fewbench[hf]'") from error
        path = self.name.partition(":")[2]
        if path.startswith((".", "/", "~")) and not Path(path).expanduser().exists():
            raise UserError(f"dataset {self.name}: no such file or folder")
        try:
            found = self._loaded(library, path)
        except Exception as error:  # whatever the library and the network raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"dataset {self.name}: it cannot be opened: {type(error).__name__}: {reason}") from error
        parts = [self._known(one.strip(), found, "split") for one in self.parts.split(",")] if self.parts else list(found)
        features = found[parts[0]].features
        image = self._known(self.image, features, "column") if self.image else self._column(features, "Image", "image")
        label = self._known(self.label, features, "column") if self.label else self._column(features, "ClassLabel", "label")
        rows = {part: _Rows(found[part].cast_column(image, library.Image(decode=False)), image, label) for part in parts}
        return counted_of(rows, f"dataset {self.name}", getattr(features[label], "names", None))

    def _loaded(self, library: Any, path: str) -> Mapping[str, Any]:
        """The splits by name."""
        place = Path(path).expanduser()
        if any((place / name).is_file() for name in SAVED):
            found = library.load_from_disk(str(place))
        elif place.is_file() and place.suffix in FILES:
            found = library.load_dataset(FILES[place.suffix], data_files=str(place))
        else:
            found = library.load_dataset(str(place) if place.exists() else path, self.configuration or None)
        return found if isinstance(found, Mapping) else {"all": found}

    def _known(self, name: str, known: Mapping[str, Any], what: str) -> str:
        if name not in known:
            raise UsageError(f"dataset {self.name}: no {what} '{name}'; {did_you_mean(name, list(known))}")
        return name

    def _column(self, features: Mapping[str, Any], kind: str, usual: str) -> str:
        """The only column of a kind, else the one of the usual name."""
        of_kind = [name for name, feature in features.items() if type(feature).__name__ == kind]
        found = of_kind[0] if len(of_kind) == 1 else usual
        if found not in features:
            known = ", ".join(features)
            raise UsageError(f"dataset {self.name}: which column has the {usual}? --set {usual}=NAME; it has {known}")
        return found


class _Rows:
    """The rows of a split as images, undecoded, and labels."""

    def __init__(self, rows: Any, image: str, label: str) -> None:
        self.rows, self.image, self.targets, self.target_transform = rows, image, list(rows[label]), None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> Sequence[Any]:
        held = self.rows[row][self.image]
        return held["bytes"] if held["bytes"] is not None else Path(held["path"]).read_bytes(), self.targets[row]
