"""A dataset: named classes in three class splits, each split a block of uint8 images stored class by class."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.code_versions import code_of
from ...core.errors import UserError
from ...core.files import cache_root
from ...core.options import Declared, Settings
from ...core.progress import SILENT, Progress
from ..taxonomy import Taxonomy
from . import store
from .contents import Contents, checked
from .reading.image_files import Square
from .split import SPLITS, Split, split_name

OTHER_CODE = "the dataset's code has changed since it was prepared"


@dataclass(frozen=True)
class Dataset(Declared, ABC):
    """A dataset. Subclasses are frozen dataclasses whose fields are the dataset's parameters.

    Attributes:
        name: the name on the command line (`--dataset`).
        version: changes when images or splits change. Tasks of different versions are never compared.
        citation: paper, in one line.
        licence: licence of the images.
        homepage: web address of the original.
        made_here: True where this package renders the images, so that a split needs no source.
        source_parameter: name of the parameter with the place of the images, where the dataset needs one.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]
    homepage: ClassVar[str]
    made_here: ClassVar[bool] = False
    source_parameter: ClassVar[str | None] = None

    @abstractmethod
    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(identifier, readable name) of each class of a split, in label order. Works without images."""

    def taxonomy(self, split: str) -> Taxonomy:
        """The taxonomy of the classes of a split. Works without images.

        Raises:
            UserError: the dataset has none.
        """
        raise UserError(f"{self.name} has no class taxonomy; bring class distances: --set sampler.distances=FILE.csv")

    @abstractmethod
    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Describe the contents of a split, before its images are read.

        Args:
            split: train, val or test.
            source: the user's copy of the data; None means the dataset's own origin (rendering or download).
            progress: shows downloads.

        Raises:
            UserError: the source is missing, incomplete or has an unknown layout, or there is no network.
        """

    def attributes(self, split: Split) -> Mapping[str, Sequence[str]]:
        """The value of each attribute for each row of a split, for `bench probe`; none where images have no attributes."""
        return {}

    def described(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """The contents of a split, checked; the arguments are those of `contents`.

        Raises:
            UserError: as `contents` does, or what it gives is of another form.
        """
        return checked(self.contents(split, source, progress), f"dataset {type(self).__name__}, {split}")

    @staticmethod
    def from_arrays(images: Any, labels: Any, class_names: Sequence[str] | None = None, name: str = "arrays") -> Dataset:
        """A dataset of images in memory, for `fewbench.benchmark.run`; all classes are test classes.

        Args:
            images: an array [n, H, W, C] or [n, C, H, W], or a sequence of arrays, tensors or pictures of PIL of any sizes;
                uint8, or numbers from 0 to 1.
            labels: one an image: whole numbers 0 … N − 1 with class names, or else whole numbers or texts.
            class_names: one for each label.
            name: what tables and records call it.

        Raises:
            UserError: an image or a label is of an unknown form.
        """
        from .indexed.given import given, paired

        return given(paired(images, labels), class_names, name)

    @staticmethod
    def from_torch(dataset: Any, class_names: Sequence[str] | None = None, name: str = "torch") -> Dataset:
        """A dataset of a PyTorch dataset that gives (image, label) by number, without augmentation; otherwise as `from_arrays`.

        Its class names are those of its attribute `classes`, where none are given.
        """
        from .indexed.given import given

        return given(dataset, class_names, name)

    def for_backbone(self, square: Square) -> Dataset:
        """The dataset with photos made square as a backbone wants them, where they are a user's own; else itself."""
        return self

    def own_splits(self) -> tuple[str, ...]:
        """The names of this dataset's class splits."""
        return SPLITS

    def folder(self) -> Path:
        """The folder in which this dataset is prepared with these parameters."""
        variant = "".join(f"-{key}={value}" for key, value in self.changed_parameters().items())
        return cache_root() / "datasets" / file_name(f"{self.own_name}{variant}")

    @property
    def own_name(self) -> str:
        """Name and version, and the class of a plug-in: one below a dataset of ours has that one's name, and other images."""
        return f"{self.name}-{self.version}" + (f"-{type(self).__name__}" if self._code else "")

    @cached_property
    def _code(self) -> str | None:
        """A hash of a plug-in's code; None for a class of this package, whose version says it."""
        code = code_of(type(self))
        return None if code.startswith("version ") else code

    def recorded_parameters(self) -> Settings:
        """The parameters for records, by name."""
        return asdict(self)

    def changed_parameters(self) -> Settings:
        """The parameters that differ from their defaults."""
        defaults = {name: field.default for name, field in self.__dataclass_fields__.items()}
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}

    def prepare(
        self, source: Path | None = None, splits: Sequence[str] = (), progress: Progress = SILENT, again: bool = False
    ) -> dict[str, Split]:
        """Prepare splits where they are missing or damaged, and open them.

        The sources of all splits are found before anything is written. Where another process prepares the same split, this one
        waits. An interrupted preparation continues where it stopped.

        Args:
            source: the user's copy of the data; None means the dataset's own origin.
            splits: names of splits; empty means all.
            progress: shows the work.
            again: whether to prepare sound splits again.

        Returns:
            The splits by name.

        Raises:
            UserError: the source is incomplete or holds damaged images, or the cache cannot be written.
        """
        splits = splits or self.own_splits()
        needed = [split for split in splits if again or self.problem(split) is not None]
        contents = {split: self.described(split, source, progress) for split in needed}
        if contents:
            store.check_room({self.folder() / split: content for split, content in contents.items()})
        for split, content in contents.items():
            folder = self.folder() / split
            with store.entry(folder).alone(progress, f"{self.name}, {split}"):
                if again or self.problem(split) is not None:  # another process may have prepared it in the meantime
                    store.build(folder, content, self._origin_of(split, content, source), progress)
        return {split: self._open(split) for split in splits}

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """The problem with the prepared form of a split, in words; None where it is sound, `store.ABSENT` where it is missing.

        Args:
            split: train, val or test.
            thorough: hash the images, also where size and time are unchanged.
        """
        found = store.check(self.folder() / split_name(split), thorough)
        return OTHER_CODE if found is None and self._of_other_code(split) else found

    def may_differ(self, split: str, fingerprint: str) -> bool:
        """Whether the images of a split are other ones than those of a fingerprint, as far as their prepared form tells.

        What is not prepared is taken for the same: name, version and parameters decide the images. A plug-in's code does, too.
        """
        found = self.problem(split)
        return found == OTHER_CODE or (found is None and self._open(split).fingerprint != fingerprint)

    def _of_other_code(self, split: str) -> bool:
        """Whether the images of a split were made by other code of a plug-in."""
        found = store.prepared(self.folder() / split)
        return found is not None and found.about.origin.code != self._code

    def split(self, split: str, progress: Progress = SILENT) -> Split:
        """Open a split, and prepare it first where it is missing or damaged.

        Raises:
            UserError: the split is missing and cannot be rendered or downloaded.
        """
        problem = self.problem(split)
        if problem is None:
            return self._open(split)
        if problem != store.ABSENT:
            progress.say(f"{self.name}, {split}: {problem}; building it again")
        return self.prepare(None, (split,), progress)[split]

    def _open(self, split: str) -> Split:
        found = store.prepared(self.folder() / split)
        if found is None:
            raise UserError(f"cannot open {self.folder() / split}: {store.ABSENT}")
        return Split(
            dataset=self.name,
            name=split,
            images=found.array(store.IMAGES),
            offsets=np.concatenate([[0], np.cumsum(found.about.counts)]).astype(np.int64),
            class_ids=found.about.class_ids,
            class_names=found.about.class_names,
            fingerprint=found.about.fingerprint,
        )

    def _origin_of(self, split: str, contents: Contents, source: Path | None) -> store.Origin:
        return store.Origin(
            dataset=self.name,
            version=self.version,
            parameters=asdict(self),
            split=split,
            citation=self.citation,
            licence=self.licence,
            homepage=self.homepage,
            source=contents.origin or (str(source.resolve()) if source else self.homepage),
            code=self._code,
        )


def file_name(text: str) -> str:
    """A text as the name of a folder, which leads out of no cache; what it cannot hold is told apart by a hash."""
    name = re.sub(r"[^\w.=+-]|\.\.", "_", text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}"


def existing(source: Path) -> Path:
    """Check that the user's source exists, and return it.

    Raises:
        UserError: it does not exist.
    """
    if not source.exists():
        raise UserError(f"--from {source}: no such file or folder")
    return source
