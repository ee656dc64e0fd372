"""Files that are whole or absent: atomic writes, folders that appear at once, and the cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from .errors import UserError


def cache_root() -> Path:
    """Folder of everything that can be made again: `$FEWBENCH_CACHE`, else the user's cache folder."""
    override = os.environ.get("FEWBENCH_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("fewbench")


@contextmanager
def os_errors_named(action: str) -> Iterator[None]:
    """Turn an `OSError` (no permission, full disk, …) inside into a one-line `UserError` that starts with `action`."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise UserError(f"{action}{where}: {error.strerror or error}") from error


def make_folder(path: Path) -> Path:
    """Create `path` with its parents.

    Raises:
        UserError: the folder cannot be made.
    """
    with os_errors_named("cannot create folder"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old bytes or the new ones, never a part.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    make_folder(path.parent)
    with os_errors_named(f"cannot write {path}"):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a result is as readable as any other file of the user's.
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def folder_at_once(final: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `final` when the block ends well, and vanishes when it does not.

    Two writers of the same folder do not disturb each other: the first to finish wins and the other's work is dropped,
    which is right for content that is a function of its name.
    """
    make_folder(final.parent)
    _sweep(final)
    with os_errors_named(f"cannot write to {final.parent}"):
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        with os_errors_named(f"cannot write {final}"):
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            try:
                temporary.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(final: Path) -> None:
    """Remove what killed writers of `final` left behind. A day old is left behind: no writer here takes that long."""
    for leftover in final.parent.glob(f".{final.name}.*"):
        with suppress(FileNotFoundError):  # another writer may be sweeping too
            if time.time() - leftover.stat().st_mtime > 86_400:
                shutil.rmtree(leftover, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there, so that no reader sees a part of it: it is renamed first."""
    if folder.exists():
        with os_errors_named(f"cannot remove {folder}"):
            doomed = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            folder.rename(doomed / folder.name)
            shutil.rmtree(doomed, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
