"""A user's own images as a dataset: a folder a class, an archive of these, or a CSV file that names images and classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...core.errors import UsageError, UserError
from ...core.files import cache_root, stamp
from ...core.options import parameter
from ...core.progress import SILENT, Progress
from ...core.ranges import LARGEST_SIZE
from ..taxonomy import Taxonomy, read_parents
from . import store
from .base import SPLITS, Contents, Dataset, Split, split_name
from .listed import image_contents
from .reading.folder_layout import Choices, Layout, split_by_fraction
from .reading.root import read_layout
from .reading.twins import about_twins

USUAL_SIZE = 84  # pixels of an image of mini-ImageNet, which most few-shot networks are made for
ENOUGH = 16  # images a class for one shot and the usual 15 queries


@dataclass(frozen=True)
class Folder(Dataset):
    """Your own images: root/class/image.jpg, root/train/class/image.jpg and so on, or a CSV file with columns file and label.

    A class is a folder that directly holds images; folders above it (animals/dogs/husky) are a taxonomy. Folders root/train,
    root/val and root/test, or the column split of the CSV file, give the class split. Otherwise the parameters train and val
    say how many classes to take for these splits, and all other classes are test classes; the order of files does not matter.
    Where images can be read in two ways, an error names the parameter that decides.
    """

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "2"
    citation: ClassVar[str] = "none, images of the user's own"
    licence: ClassVar[str] = "that of the images"
    homepage: ClassVar[str] = ""
    source_parameter: ClassVar[str | None] = "root"

    root: str = parameter("", "folder, zip or tar file, or CSV file with the images; needed")
    size: int | None = parameter(
        None,
        "height and width in pixels; auto: those of the backbone's images, else 84",
        minimum=1,
        maximum=LARGEST_SIZE,
        none="auto",
    )
    fit: Literal["crop", "letterbox", "squash"] = parameter(
        "crop", "how a photo becomes square: crop its centre, add grey bars (letterbox), or change its proportions (squash)"
    )
    train: float = parameter(
        0.0, "fraction of the classes for the split train, where the images give no class split", minimum=0, maximum=1
    )
    val: float = parameter(
        0.0, "fraction of the classes for the split val, where the images give no class split", minimum=0, maximum=1
    )
    class_folder: Literal["auto", "inner", "outer"] = parameter(
        "auto", "which folder is the class: inner, the one that images are in; or outer, the one at the top with all below it"
    )
    split_folders: Literal["auto", "classes", "images", "none"] = parameter(
        "auto", "what folders such as train and test divide: classes, or the images of each class; none: they are classes"
    )
    columns: str = parameter("", "columns of a CSV file: names of those with file, label and perhaps split, as image,species")
    parents: str = parameter("", "CSV file with columns class and parent: the taxonomy, instead of the folders above classes")

    def __post_init__(self) -> None:
        """Check that both fractions together are at most 1."""
        super().__post_init__()
        if self.train + self.val > 1:
            raise UsageError(f"dataset folder: train={self.train}, val={self.val}: fractions of the classes, together up to 1")

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(folder below the root, readable name) of each class of a split, sorted; from the cache where the root is absent."""
        split_name(split)
        if not self._path.exists() and store.check(self.folder() / split) is None:
            found = store.prepared(self.folder() / split)
            if found is not None:
                return list(zip(found.about.class_ids, found.about.class_names, strict=True))
        names = {class_id: class_id.rpartition("/")[2].replace("_", " ") for class_id in self._layout.classes}
        unique = len(set(names.values())) == len(names)
        return [(class_id, names[class_id] if unique else class_id) for class_id in names if self._splits[class_id] == split]

    def taxonomy(self, split: str) -> Taxonomy:
        """The taxonomy in the table `parents`, or else the tree of the folders above the classes.

        Raises:
            UserError: there is neither, or a class is missing in the table.
        """
        class_ids = [class_id for class_id, _ in self.class_list(split)]
        if self.parents:
            return Taxonomy.from_parent_table(self._parents, class_ids)
        if not any("/" in class_id for class_id in class_ids):
            return super().taxonomy(split)
        return Taxonomy.from_folder_tree(class_ids)

    def recorded_parameters(self) -> dict[str, Any]:
        """The parameters. Those of `Choices` are left out at their defaults, since older records do not have them."""
        reading = {name: value for name, value in asdict(Choices()).items() if getattr(self, name) == value}
        recorded = {name: value for name, value in super().recorded_parameters().items() if name not in reading}
        return {**recorded, "size": self.size or USUAL_SIZE}

    def for_size(self, size: int) -> Folder:
        """The dataset with images of a size in pixels, where the parameter `size` is auto."""
        return self if self.size else replace(self, size=size)

    def own_splits(self) -> tuple[str, ...]:
        """The splits that have classes."""
        return tuple(split for split in SPLITS if self.class_list(split))

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Find the images of a split.

        Raises:
            UsageError: a source was given (`root` says where the images are), or fractions although there is a class split.
            UserError: there are no images, or no class is in this split.
        """
        if source is not None:
            raise UsageError(f"--from {source}: the dataset folder takes its images from its parameter, root={source}")
        classes = self.class_list(split)
        if not classes:
            held = ", ".join(f"{list(self._splits.values()).count(other)} in {other}" for other in SPLITS if other != split)
            raise UserError(
                f"root={self.root}: no class is in the split {split} ({held}); parameters train and val (such as train=0.6) "
                "divide classes, and so do folders root/train/class, root/val/class and root/test/class"
            )
        members = [self._layout.classes[class_id] for class_id, _ in classes]
        return image_contents(classes, members, self.size or USUAL_SIZE, self._origin, self.fit)

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """As in `Dataset`; another problem is that images were added, removed or changed since the split was prepared.

        Raises:
            UserError: the table `parents` cannot be read, whether or not a sampler asks for it.
        """
        _ = self._parents
        found = super().problem(split, thorough)
        if found is None and self._path.exists():
            prepared = store.prepared(self.folder() / split)
            if prepared is not None and prepared.about.origin.source != self._origin:
                return f"the images in {self.root} have changed since it was prepared"
        return found

    def folder(self) -> Path:
        """The folder in which this dataset is prepared: one for each root and choice of parameters."""
        changed = {key: value for key, value in self.changed_parameters().items() if key not in ("root", "parents")}
        variant = re.sub(r"[^\w.=+-]", "_", "".join(f"-{key}={value}" for key, value in changed.items()))
        label = re.sub(r"[^\w.-]+", "_", self._path.name)[:60]
        digest = hashlib.sha256(str(self._path).encode(errors="surrogateescape")).hexdigest()[:8]
        return cache_root() / "datasets" / f"{self.name}-{self.version}-{label}-{digest}{variant}"

    @property
    def _path(self) -> Path:
        if not self.root:
            raise UsageError(
                "dataset folder needs its images: parameter root=PATH, a folder, archive or CSV file (`bench run "
                "--dataset folder --set dataset.root=PATH`, `bench data prepare folder --from PATH`)"
            )
        try:
            return Path(self.root).expanduser().resolve()
        except RuntimeError as error:  # Python raises it for both
            raise UsageError(f"root={self.root}: a link that leads in a circle, or no such user") from error

    @property
    def _parents(self) -> dict[str, str]:
        """The table `parents`; empty where none is named."""
        return read_parents(Path(self.parents).expanduser()) if self.parents else {}

    @cached_property
    def _layout(self) -> Layout:
        return read_layout(self._path, Choices(self.class_folder, self.split_folders, self.columns))

    @cached_property
    def _splits(self) -> dict[str, str]:
        """The split of each class."""
        if self._layout.splits is None:
            return split_by_fraction(list(self._layout.classes), self.train, self.val)
        if self.train or self.val:
            raise UsageError(f"dataset folder: {self.root} gives the class split itself; leave train and val out")
        return dict(self._layout.splits)

    @cached_property
    def _origin(self) -> str:
        """The path of the images and a hash over their names, sizes and times."""
        sha = hashlib.sha256()
        archives = set()
        for class_id, members in self._layout.classes.items():
            for member in members:
                if member.holder.path.is_dir():
                    seen = stamp(member.holder.path / member.name)
                else:
                    archives.add(member.holder.path)
                    seen = []
                sha.update(repr((class_id, member.name, seen)).encode(errors="surrogateescape"))
        for path in sorted(archives):
            sha.update(repr(stamp(path)).encode())
        return f"{self._path} ({sha.hexdigest()[:16]})"

    def prepare(
        self, source: Path | None = None, splits: Sequence[str] = (), progress: Progress = SILENT, again: bool = False
    ) -> dict[str, Split]:
        """As in `Dataset`; tells the user what was found."""
        return {split: self._told(found, progress) for split, found in super().prepare(source, splits, progress, again).items()}

    def split(self, split: str, progress: Progress = SILENT) -> Split:
        """As in `Dataset`; tells the user what was found."""
        return self._told(super().split(split, progress), progress)

    def _told(self, split: Split, progress: Progress) -> Split:
        """Tell the user once how the images were read, which files were left out, and what is odd about a split's classes."""
        if split.name in self._said or not self._path.exists():
            return split
        said = [] if self._said else [str(self._layout)]
        self._said.add(split.name)
        counts = np.diff(split.offsets)
        few = np.flatnonzero(counts < ENOUGH)
        if len(few):
            more = f", {len(few) - 1} more have fewer than {ENOUGH}" if len(few) > 1 else ""
            first = f"class '{split.class_ids[few[0]]}' has {counts[few[0]]} images{more}"
            said.append(f"{first}; shots and queries together cannot be more")
        said += about_twins(split.images, split.labels, split.class_ids)
        if said:
            progress.say(f"{self.root}: {'; '.join(said)}")
        return split

    @cached_property
    def _said(self) -> set[str]:
        """The splits that the user was told about."""
        return set()

    def _origin_of(self, split: str, contents: Contents, source: Path | None) -> store.Origin:
        parameters = {**self.recorded_parameters(), "root": str(self._path)}
        del parameters["parents"]  # the images do not depend on it
        return replace(super()._origin_of(split, contents, source), parameters=parameters)
