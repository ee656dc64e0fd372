"""The base of datasets of a user's own photos: which classes are taken, how they are divided, how photos become square."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from ...core.errors import UsageError, UserError, listed
from ...core.files import cache_root
from ...core.options import Settings, parameter
from ...core.progress import SILENT, Progress
from ...core.ranges import LARGEST_SIZE
from ..taxonomy import Taxonomy
from . import store
from .base import Contents, Dataset, file_name
from .listed import image_contents
from .reading.folder_layout import Layout, split_by_fraction
from .reading.holders import Member
from .reading.image_files import Fit, Square
from .reading.twins import about_twins, without_copies
from .split import SPLITS, Split, split_name

USUAL = Square(84, "crop", "bicubic")  # 84 pixels as mini-ImageNet, which most few-shot networks are made for
FOUND = ("layout", "counted")  # properties that take a while and do not depend on how photos become square
ENOUGH = 16  # images a class for one shot and the usual 15 queries


@dataclass(frozen=True)
class Photos(Dataset):
    """A user's own images, each with a class."""

    version: ClassVar[str] = "2"
    citation: ClassVar[str] = "none, images of the user's own"
    licence: ClassVar[str] = "that of the images"
    homepage: ClassVar[str] = ""

    size: int | None = parameter(
        None,
        "height and width in pixels; auto: those of the backbone's images, else 84",
        minimum=1,
        maximum=LARGEST_SIZE,
        none="auto",
    )
    fit: Fit = parameter(
        "crop", "how a photo becomes square: crop its centre, add grey bars (letterbox), or change its proportions (squash)"
    )
    filter: Literal["auto", "bicubic", "bilinear", "box", "hamming", "lanczos", "nearest"] = parameter(
        "auto", "filter to resize by; auto: that of the backbone's evaluation, else bicubic"
    )
    share: float | None = parameter(
        None,
        "share of the shorter side that a crop takes; auto: that of the backbone's evaluation, else 1",
        above=0,
        maximum=1,
        none="auto",
    )
    train: float = parameter(
        0.0, "fraction of the classes for the split train, where the images give no class split", minimum=0, maximum=1
    )
    val: float = parameter(
        0.0, "fraction of the classes for the split val, where the images give no class split", minimum=0, maximum=1
    )
    min_images: int = parameter(1, "classes with fewer images are left out", minimum=1)

    def __post_init__(self) -> None:
        """Check that both fractions together are at most 1."""
        super().__post_init__()
        if self.train + self.val > 1:
            raise UsageError(
                f"dataset {self.name}: train={self.train}, val={self.val}: fractions of the classes, together up to 1"
            )

    @classmethod
    def called(cls, name: str, **attributes: Any) -> type[Self]:
        """The same class under another name, which tables and records then say, and with other class attributes."""
        as_before = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        return type(cls)(cls.__name__, (cls,), {**as_before, "name": name, **attributes})

    @cached_property
    @abstractmethod
    def layout(self) -> Layout:
        """The classes and the images of each.

        Raises:
            UserError: there are none, or they can be read in two ways.
        """

    @property
    @abstractmethod
    def owner(self) -> str:
        """Whose images they are, for messages: "root=photos"."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What tells these images from those of other places; the name of the prepared folder has a hash of it."""

    @cached_property
    @abstractmethod
    def origin(self) -> str:
        """The origin of the images for the manifest, which changes when they do."""

    @property
    def there(self) -> bool:
        """Whether the images can be read; otherwise only what was prepared of them."""
        return True

    @property
    def square(self) -> Square:
        """How photos become square."""
        filter_ = USUAL.filter if self.filter == "auto" else self.filter
        return Square(self.size or USUAL.size, self.fit, filter_, USUAL.share if self.share is None else self.share)

    def for_backbone(self, square: Square) -> Self:
        """The dataset with the backbone's size, filter and share where these parameters are auto."""
        made = replace(
            self,
            size=self.size or square.size or None,  # imported features have no size
            filter=square.filter if self.filter == "auto" else self.filter,
            share=square.share if self.share is None else self.share,
        )
        vars(made).update({name: value for name, value in vars(self).items() if name in FOUND})
        return made

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(identifier, readable name) of each class of a split, sorted; from the cache where the images are absent."""
        split_name(split)
        if not self.there and store.check(self.folder() / split) is None:
            found = store.prepared(self.folder() / split)
            if found is not None:
                return list(zip(found.about.class_ids, found.about.class_names, strict=True))
        names = {class_id: class_id.rpartition("/")[2].replace("_", " ") for class_id in self._classes}
        unique = len(set(names.values())) == len(names)
        return [(class_id, names[class_id] if unique else class_id) for class_id in names if self._splits[class_id] == split]

    def taxonomy(self, split: str) -> Taxonomy:
        """The tree of the folders above the classes.

        Raises:
            UserError: there are none.
        """
        class_ids = [class_id for class_id, _ in self.class_list(split)]
        return Taxonomy.from_folder_tree(class_ids) if any("/" in one for one in class_ids) else super().taxonomy(split)

    def recorded_parameters(self) -> Settings:
        """The parameters, with the size, filter and share that "auto" means."""
        square = self.square
        return {**super().recorded_parameters(), "size": square.size, "filter": square.filter, "share": square.share}

    def own_splits(self) -> tuple[str, ...]:
        """The splits that have classes."""
        return tuple(split for split in SPLITS if self.class_list(split))

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Find the images of a split. Of copies of a file one is taken, and none where they are in several classes.

        Raises:
            UsageError: a source was given, or fractions although there is a class split.
            UserError: there are no images, or no class is in this split.
        """
        if source is not None:
            raise UsageError(f"--from {source}: the dataset {self.name} takes its images from {self.owner}")
        classes = self.class_list(split)
        if not classes:
            held = ", ".join(f"{list(self._splits.values()).count(other)} in {other}" for other in SPLITS if other != split)
            raise UserError(
                f"{self.owner}: no class is in the split {split} ({held}); parameters train and val (such as train=0.6) "
                "divide classes, and so do folders root/train/class, root/val/class and root/test/class"
            )
        members, said = without_copies({class_id: self._classes[class_id] for class_id, _ in classes})
        if emptied := [class_id for class_id, kept in members.items() if not kept]:
            raise UserError(f"{self.owner}: all images of class '{emptied[0]}' are also in other classes")
        self._copies[split] = said
        return image_contents(classes, list(members.values()), self.square, self.origin)

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """As in `Dataset`; another problem is that images were added, removed or changed since the split was prepared."""
        found = super().problem(split, thorough)
        if found is None and self.there:
            prepared = store.prepared(self.folder() / split)
            if prepared is not None and prepared.about.origin.source != self.origin:
                return f"the images of {self.owner} have changed since it was prepared"
        return found

    def may_differ(self, split: str, fingerprint: str) -> bool:
        """As in `Dataset`; photos that are there and not prepared, or changed since, may be any."""
        return super().may_differ(split, fingerprint) or (self.there and self.problem(split) is not None)

    def image_parameters(self) -> Settings:
        """The changed parameters that the prepared images depend on, beside their place."""
        return self.changed_parameters()

    def folder(self) -> Path:
        """The folder in which this dataset is prepared: one for each place and choice of parameters."""
        variant = "".join(f"-{key}={value}" for key, value in self.image_parameters().items())
        label = re.sub(r"[^\w.-]+", "_", self.place.rpartition("/")[2])[:60]
        name = re.sub(r"[^\w.-]+|\.\.", "_", self.own_name)
        digest = hashlib.sha256(self.place.encode(errors="surrogateescape")).hexdigest()[:8]
        return cache_root() / "datasets" / file_name(f"{name}-{label}-{digest}{variant}")

    @cached_property
    def _classes(self) -> Mapping[str, Sequence[Member]]:
        """The classes that are large enough."""
        kept = {class_id: images for class_id, images in self.layout.classes.items() if len(images) >= self.min_images}
        if not kept:
            raise UserError(f"{self.owner}: no class has min_images={self.min_images} images")
        return kept

    @cached_property
    def _splits(self) -> dict[str, str]:
        """The split of each class."""
        if self.layout.splits is None:
            return split_by_fraction(list(self._classes), self.train, self.val)
        if self.train or self.val:
            raise UsageError(f"dataset {self.name}: {self.owner} gives the class split itself; leave train and val out")
        return dict(self.layout.splits)

    @cached_property
    def _copies(self) -> dict[str, list[str]]:
        """What was said of copies when a split was prepared, by split."""
        return {}

    def prepare(
        self, source: Path | None = None, splits: Sequence[str] = (), progress: Progress = SILENT, again: bool = False
    ) -> dict[str, Split]:
        """As in `Dataset`; tells the user what was found."""
        return {split: self._told(found, progress) for split, found in super().prepare(source, splits, progress, again).items()}

    def split(self, split: str, progress: Progress = SILENT) -> Split:
        """As in `Dataset`; tells the user what was found."""
        return self._told(super().split(split, progress), progress)

    def _told(self, split: Split, progress: Progress) -> Split:
        """Tell the user once how the images were read, which were left out, and what is odd about a split's classes."""
        if split.name in self._said or not self.there:
            return split
        said = [] if self._said else [str(self.layout), *self._too_small()]
        self._said.add(split.name)
        counts = np.diff(split.offsets)
        few = np.flatnonzero(counts < ENOUGH)
        if len(few):
            more = f", {len(few) - 1} more have fewer than {ENOUGH}" if len(few) > 1 else ""
            first = f"class '{split.class_ids[few[0]]}' has {counts[few[0]]} images{more}"
            said.append(f"{first}; shots and queries together cannot be more")
        left_out = sum(len(self._classes[class_id]) for class_id in split.class_ids) - int(counts.sum())
        said += self._copies.get(split.name) or ([f"{left_out} copies of photos are left out"] if left_out else [])
        said += about_twins(split.images, split.labels, split.class_ids)
        if said:
            progress.say(f"{self.owner}: {'; '.join(said)}")
        return split

    def _too_small(self) -> list[str]:
        small = [class_id for class_id in self.layout.classes if class_id not in self._classes]
        return [f"classes with fewer than {self.min_images} images are left out ({listed(small, 4)})"] if small else []

    @cached_property
    def _said(self) -> set[str]:
        """The splits that the user was told about."""
        return set()
