"""A site on disk: written into a folder beside its place, then put there at once."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ....core.errors import UserError
from ....core.files import make_folder, os_errors_named, temporary_path

MARKER = ".fewbench-site"  # lists the files of the site, one a line


def write_site(files: Mapping[str, bytes], place: Path) -> None:
    """Write a site. An older one that this function wrote is replaced.

    Args:
        files: content by path within the site.
        place: the folder.

    Raises:
        UserError: the place holds other files, or cannot be written. It is then as it was.
    """
    place = place.resolve()
    check_place(place)
    make_folder(place.parent)
    with os_errors_named(f"cannot write {place}"):
        new = temporary_path(place.parent)
        try:
            for name, content in {**files, MARKER: "".join(f"{name}\n" for name in sorted(files)).encode()}.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            _put(new, place)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def check_place(place: Path) -> None:
    """Check that a site may be written to a place: nothing is there, an empty folder, or an older site and nothing else.

    Raises:
        UserError: something else is.
    """
    place = place.resolve()
    if Path.cwd().is_relative_to(place):
        raise UserError(f"{place} is or holds the current folder, which cannot be replaced; name a folder within it")
    if not os.path.lexists(place):
        return
    with os_errors_named(f"cannot read {place}"):
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        marker = place / MARKER
        own = {MARKER, *marker.read_text(encoding="utf-8", errors="replace").splitlines()} if marker.is_file() else set[str]()
        other = min(set(_files(place)) - own, default=None)
    if other is not None:
        raise UserError(f"{place} holds files that are not of a site, such as {other}; name another folder")


def _files(place: Path) -> Iterator[str]:
    """Everything in a folder but folders; links are not followed."""
    for folder, folders, names in os.walk(place):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder, name).relative_to(place).as_posix() for name in [*names, *links])


def _put(new: Path, place: Path) -> None:
    """Put a folder in its place, and remove what was there."""
    if not place.exists():
        new.rename(place)
        return
    old = temporary_path(place.parent)
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
