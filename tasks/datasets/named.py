"""Photos that the user has given a name: a copy of the files in the cache, from which images of any size are made.

`bench data prepare PHOTOS --name groceries` makes it. The copy holds the files as they are, numbered in an archive,
and `manifest.json` their names and classes (`Copied`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from ...core.cache import Damaged, Entry, Kept
from ...core.errors import UsageError, UserError
from ...core.files import cache_root, remove_folder
from ...core.options import Settings, build, parameters_of
from ...core.progress import Progress
from ...core.unfinished import Unfinished
from ..taxonomy import Taxonomy
from .folder import Folder
from .photos import Photos
from .reading.archives import ZipFiles
from .reading.decoding import decoded
from .reading.folder_layout import Layout
from .reading.holders import Holder, Member, Read
from .reading.image_files import Square

ARCHIVE = "photos.zip"
NAME = re.compile(r"\w[\w.-]{0,59}")
CHECKED = Square(32, filter="box")  # what a photo is made into to see whether it can be read


@dataclass(frozen=True)
class CopiedClass:
    """A class: its identifier, its split where the photos give one, and the names of its photos."""

    class_id: str
    split: str | None
    photos: tuple[str, ...]


@dataclass(frozen=True)
class Copied:
    """The description of a copy. Photo k of all classes together is the member `k` of the archive.

    Attributes:
        source: where the photos were.
        settings: parameters that were set, beside those that say how folders are read.
        classes: in label order.
        read_as: how folders or columns were read, in words.
        left_out: files that are in no class, in words.
        parents: the taxonomy as a table, where one was named.
    """

    source: str
    settings: Settings
    classes: tuple[CopiedClass, ...]
    read_as: tuple[str, ...]
    left_out: tuple[str, ...]
    parents: dict[str, str] = field(default_factory=dict)


class CopiedFiles(ZipFiles):
    """The photos of a copy; a member's place is its number."""

    def label(self, member: Member) -> str:
        """The name that the user knows."""
        return f"{self.path.parent.name}: {member.name}"

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a photo."""
        with super().opened() as read_member:

            def read(member: Member, most: int = -1) -> Any:
                return read_member(Member(self, str(member.place)), most)

            yield read


@dataclass(frozen=True)
class Named(Photos):
    """Your own images under a name, made by `bench data prepare PHOTOS --name NAME`; they need not be where they were."""

    name: ClassVar[str] = "NAME"

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> Self:
        """The photos of a name, with the parameters of their preparation where no others are set.

        Raises:
            UsageError: an unknown parameter.
            UserError: the copy is damaged.
        """
        return build(cls.called(name), {**_copy_of(name).about.settings, **settings}, f"dataset {name}")

    def taxonomy(self, split: str) -> Taxonomy:
        """The table of parents that was named, or else the tree of the folders above the classes."""
        if self._copy.about.parents:
            return Taxonomy.from_parent_table(self._copy.about.parents, [one for one, _ in self.class_list(split)])
        return super().taxonomy(split)

    def problem(self, split: str, thorough: bool = False) -> str | None:
        """As in `Photos`; a thorough look hashes the copy as well.

        Raises:
            UserError: the copy is damaged.
        """
        if thorough:
            _copy_of(self.name, thorough)
        return super().problem(split, thorough)

    @property
    def owner(self) -> str:
        """The name."""
        return self.name

    @property
    def place(self) -> str:
        """A hash of the copy, so that other photos of the same name have other folders."""
        return self._copy.files[ARCHIVE].sha256[:12]

    @cached_property
    def origin(self) -> str:
        """Where the photos were, and the hash."""
        return f"{self._copy.about.source} ({self.place})"

    @property
    def copied(self) -> Path:
        """The folder of the copy."""
        return self._copy.folder

    @cached_property
    def layout(self) -> Layout:
        """The classes of the copy."""
        about, holder = self._copy.about, CopiedFiles(self._copy.folder / ARCHIVE)
        classes: dict[str, list[Member]] = {}
        for one in about.classes:
            start = sum(map(len, classes.values()))
            classes[one.class_id] = [Member(holder, photo, start + number) for number, photo in enumerate(one.photos)]
        splits = {one.class_id: one.split for one in about.classes if one.split is not None}
        return Layout(classes, splits or None, about.read_as, about.left_out)

    @cached_property
    def _copy(self) -> Kept[Copied]:
        return _copy_of(self.name)


def keep(name: str, photos: Folder, progress: Progress) -> Named:
    """Copy photos into the cache under a name, in place of others of that name.

    Args:
        name: letters, digits, dots, dashes and underscores.
        photos: with the parameters that will hold for the name.
        progress: shows the work.

    Raises:
        UsageError: the name has other characters.
        UserError: a photo cannot be read, or the cache cannot be written; then nothing changes.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"--name {name}: up to 60 letters, digits, dots, dashes and underscores, not a dot or dash at first")
    photos.own_splits()  # which finds what is wrong with the parameters
    layout, entry, own = photos.layout, _entry(name), {one.name for one in parameters_of(Photos)}
    classes = [
        CopiedClass(class_id, layout.splits[class_id] if layout.splits else None, tuple(member.name for member in members))
        for class_id, members in layout.classes.items()
    ]
    members = [member for images in layout.classes.values() for member in images]
    about = Copied(
        photos.place,
        {key: value for key, value in photos.changed_parameters().items() if key in own},
        tuple(classes),
        tuple(layout.read_as),
        tuple(layout.left_out),
        dict(photos.parent_table),
    )

    def fill(unfinished: Unfinished) -> Copied:
        with progress.track(f"checking {name}", len(members), "photos") as advance:
            for rows, _ in decoded(members, CHECKED):
                advance(len(rows))
        _write(unfinished.folder / ARCHIVE, members)
        return about

    with entry.alone(progress, name):
        entry.make(fill)
    made = Named.from_name(name, {})
    of_this_name = re.compile(rf"{re.escape(name)}-{made.version}-([0-9a-f]{{12}})-[0-9a-f]{{8}}(?!\w).*")
    for folder in (cache_root() / "datasets").glob("*"):
        if (match := of_this_name.fullmatch(folder.name)) and match[1] != made.place:
            remove_folder(folder)  # made of the photos that had the name before
    return made


def _entry(name: str) -> Entry[Copied]:
    return Entry(cache_root() / "photos" / name, Copied)


def _copy_of(name: str, thorough: bool = False) -> Kept[Copied]:
    again = f"prepare it again: bench data prepare PHOTOS --name {name} --overwrite"
    try:
        found = _entry(name).find(thorough)
    except Damaged as error:
        raise UserError(f"dataset {name}: its copy in the cache cannot be read ({error}); {again}") from error
    if found is None or ARCHIVE not in found.files:
        raise UserError(f"dataset {name}: its copy in the cache is gone; {again}")
    return found


def _write(path: Path, members: Sequence[Member]) -> None:
    """Write the members into an archive, uncompressed since photos are compressed already, under their numbers."""
    holders: dict[Holder, Read] = {}
    with ExitStack() as stack, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        order = sorted(range(len(members)), key=lambda number: members[number].place)
        for number in order:
            holder = members[number].holder
            if holder not in holders:
                holders[holder] = stack.enter_context(holder.opened())
            archive.writestr(zipfile.ZipInfo(str(number)), bytes(holders[holder](members[number])))
