"""A user's own images as a dataset: a folder a class, an archive of these, or a CSV file that names images and classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from ...core.errors import UsageError
from ...core.files import state_of
from ...core.options import Settings, parameter
from ..taxonomy import Taxonomy, read_parents
from . import store
from .base import Contents
from .photos import Photos
from .reading.folder_layout import Choices, Layout
from .reading.root import read_layout


@dataclass(frozen=True)
class Folder(Photos):
    """Your own images: root/class/image.jpg, root/train/class/image.jpg and so on, or a CSV file with columns file and label.

    A class is a folder that directly holds images; folders above it (animals/dogs/husky) are a taxonomy. Folders root/train,
    root/val and root/test, or the column split of the CSV file, give the class split. Otherwise the parameters train and val
    say how many classes to take for these splits, and all other classes are test classes; the order of files does not matter.
    Where images can be read in two ways, an error names the parameter that decides.
    """

    name: ClassVar[str] = "folder"
    source_parameter: ClassVar[str | None] = "root"

    root: str = parameter("", "folder, zip or tar file, or CSV file with the images; needed")
    class_folder: Literal["auto", "inner", "outer"] = parameter(
        "auto", "which folder is the class: inner, the one that images are in; or outer, the one at the top with all below it"
    )
    split_folders: Literal["auto", "classes", "images", "none"] = parameter(
        "auto", "what folders such as train and test divide: classes, or the images of each class; none: they are classes"
    )
    columns: str = parameter("", "columns of a CSV file: names of those with file, label and perhaps split, as image,species")
    pattern: str = parameter(
        "", r"regular expression of file names without suffix, with a group label, as (?P<label>[a-z]+)_\d+: the classes"
    )
    parents: str = parameter("", "CSV file with columns class and parent: the taxonomy, instead of the folders above classes")

    def taxonomy(self, split: str) -> Taxonomy:
        """The taxonomy in the table `parents`, or else the tree of the folders above the classes.

        Raises:
            UserError: there is neither, or a class is missing in the table.
        """
        if self.parents:
            return Taxonomy.from_parent_table(self.parent_table, [class_id for class_id, _ in self.class_list(split)])
        return super().taxonomy(split)

    def recorded_parameters(self) -> Settings:
        """The parameters. Those of `Choices` are left out at their defaults, since older records do not have them."""
        reading = {name: value for name, value in asdict(Choices()).items() if getattr(self, name) == value}
        return {name: value for name, value in super().recorded_parameters().items() if name not in reading}

    def image_parameters(self) -> Settings:
        """The changed parameters but for root and parents."""
        return {key: value for key, value in self.changed_parameters().items() if key not in ("root", "parents")}

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """As in `Photos`.

        Raises:
            UserError: the table `parents` cannot be read, whether or not a sampler asks for it.
        """
        _ = self.parent_table
        return super().problem(split, thorough)

    @property
    def owner(self) -> str:
        """The root."""
        return f"root={self.root}"

    @property
    def place(self) -> str:
        """The root in full."""
        return str(self._path)

    @property
    def there(self) -> bool:
        """Whether the root is."""
        return self._path.exists()

    @property
    def _path(self) -> Path:
        if not self.root:
            raise UsageError(
                "dataset folder needs its images: parameter root=PATH, a folder, archive or CSV file (`bench run "
                "--data PATH`, `bench data prepare folder --from PATH`)"
            )
        try:
            return Path(self.root).expanduser().resolve()
        except RuntimeError as error:  # Python raises it for both
            raise UsageError(f"root={self.root}: a link that leads in a circle, or no such user") from error

    @property
    def parent_table(self) -> Mapping[str, str]:
        """The table `parents`; empty where none is named."""
        return read_parents(Path(self.parents).expanduser()) if self.parents else {}

    @cached_property
    def layout(self) -> Layout:
        """The classes and the images of each."""
        return read_layout(self._path, Choices(self.class_folder, self.split_folders, self.columns, self.pattern))

    @cached_property
    def origin(self) -> str:
        """The path of the images and a hash over their names and states."""
        sha = hashlib.sha256()
        archives = set()
        for class_id, members in self.layout.classes.items():
            for member in members:
                if member.holder.path.is_dir():
                    seen = state_of(member.holder.path / member.name)
                else:
                    archives.add(member.holder.path)
                    seen = []
                sha.update(repr((class_id, member.name, seen)).encode(errors="surrogateescape"))
        for path in sorted(archives):
            sha.update(repr(state_of(path)).encode())
        return f"{self._path} ({sha.hexdigest()[:16]})"

    def _origin_of(self, split: str, contents: Contents, source: Path | None) -> store.Origin:
        parameters = {**self.recorded_parameters(), "root": self.place}
        del parameters["parents"]  # the images do not depend on it
        return replace(super()._origin_of(split, contents, source), parameters=parameters)
