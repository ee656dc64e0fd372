"""A user's own images as a dataset: a folder a class, an archive of these, or a CSV file that names images and classes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ...core.errors import UsageError, UserError
from ...core.files import cache_root, stamp
from ...core.options import LARGEST_SIZE, parameter
from ...core.progress import Progress
from ..taxonomy import Taxonomy
from . import store
from .base import SPLITS, Contents, Dataset, split_name
from .listed import image_contents
from .reading.folder_layout import Layout, read_layout, split_by_fraction

ENOUGH = 16  # images a class for one shot and the usual 15 queries


@dataclass(frozen=True)
class Folder(Dataset):
    """Your own images: root/class/image.jpg, root/train/class/image.jpg and so on, or a CSV file with columns file and label.

    A class is a folder that images lie directly in; folders above it (animals/dogs/husky) are a taxonomy. The class split is
    the one that root/train, root/val and root/test or the column split of the CSV file give; else it is made from the
    parameters train and val, and all other classes are test classes. It never depends on the order of anything.
    """

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "none, images of the user's own"
    licence: ClassVar[str] = "that of the images"
    homepage: ClassVar[str] = ""
    source_parameter: ClassVar[str | None] = "root"

    root: str = parameter("", "folder, zip or tar file, or CSV file with the images; needed")
    size: int = parameter(84, "height and width in pixels; images are resized as a whole", minimum=1, maximum=LARGEST_SIZE)
    train: float = parameter(
        0.0, "fraction of the classes for the split train, where the images give no class split", minimum=0, maximum=1
    )
    val: float = parameter(
        0.0, "fraction of the classes for the split val, where the images give no class split", minimum=0, maximum=1
    )
    parents: str = parameter("", "CSV file with columns class and parent: the taxonomy, instead of the folders above classes")

    def __post_init__(self) -> None:
        """Check that both fractions together are one."""
        super().__post_init__()
        if self.train + self.val > 1:
            raise UsageError(f"dataset folder: train={self.train}, val={self.val}: fractions of the classes, together up to 1")

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(folder below the root, readable name) of each class of a split, sorted; from the cache where the root is gone."""
        split_name(split)
        if not self._path.exists() and store.check(self.folder() / split) is None:
            found = store.prepared(self.folder() / split)
            if found is not None:
                return list(zip(found.about.class_ids, found.about.class_names, strict=True))
        names = {class_id: class_id.rpartition("/")[2].replace("_", " ") for class_id in self._layout.classes}
        unique = len(set(names.values())) == len(names)
        return [(class_id, names[class_id] if unique else class_id) for class_id in names if self._splits[class_id] == split]

    def taxonomy(self, split: str) -> Taxonomy:
        """The table `parents`, or the tree of the folders above the classes.

        Raises:
            UserError: there is neither, or the table lacks a class.
        """
        class_ids = [class_id for class_id, _ in self.class_list(split)]
        if self.parents:
            return Taxonomy.from_parent_table(Path(self.parents).expanduser(), class_ids)
        if not any("/" in class_id for class_id in class_ids):
            return super().taxonomy(split)
        return Taxonomy.from_folder_tree(class_ids)

    def own_splits(self) -> tuple[str, ...]:
        """The splits that have classes."""
        return tuple(split for split in SPLITS if self.class_list(split))

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Find the images of a split.

        Raises:
            UsageError: a source was given beside the root, or fractions beside a class split.
            UserError: there are no images, or none in this split.
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
        counts = {class_id: len(images) for (class_id, _), images in zip(classes, members, strict=True)}
        self._report(counts, progress)
        return image_contents(classes, members, self.size, origin=self._origin)

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """As for every dataset; images that were added, removed or changed since are a problem too."""
        found = super().problem(split, thorough)
        if found is None and self._path.exists():
            prepared = store.prepared(self.folder() / split)
            if prepared is not None and prepared.about.origin.source != self._origin:
                return f"the images in {self.root} have changed since it was prepared"
        return found

    def folder(self) -> Path:
        """Where this dataset is prepared: a folder for each root and choice of parameters."""
        changed = {key: value for key, value in self.changed_parameters().items() if key not in ("root", "parents")}
        variant = "".join(f"-{key}={value}" for key, value in changed.items())
        label = re.sub(r"[^\w.-]+", "_", self._path.name)
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
        except RuntimeError as error:  # which Python raises for both
            raise UsageError(f"root={self.root}: a link that leads in a circle, or no such user") from error

    @cached_property
    def _layout(self) -> Layout:
        return read_layout(self._path)

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
        """The place of the images and a hash over their names, sizes and times."""
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

    def _report(self, counts: dict[str, int], progress: Progress) -> None:
        """Say which classes have few images or none."""
        if self._layout.empty:
            more = f" and {len(self._layout.empty) - 1} more" if len(self._layout.empty) > 1 else ""
            progress.say(f"{self.root}: folder '{self._layout.empty[0]}'{more} without an image is left out")
        few = [class_id for class_id, count in counts.items() if count < ENOUGH]
        if few:
            more = f", {len(few) - 1} more have fewer than {ENOUGH}" if len(few) > 1 else ""
            images = f"class '{few[0]}' has {counts[few[0]]} images{more}"
            progress.say(f"{self.root}: {images}; shots and queries together cannot be more")

    def _origin_of(self, split: str, contents: Contents, source: Path | None) -> store.Origin:
        parameters = {**asdict(self), "root": str(self._path)}
        del parameters["parents"]  # the images do not depend on it
        return replace(super()._origin_of(split, contents, source), parameters=parameters)
