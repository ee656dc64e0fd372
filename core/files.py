"""Files that are whole or absent: atomic writes, temporary names and their sweeping, regular files, and the cache folder."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import platformdirs

from .errors import UserError

TEMPORARY = ".fewbench"  # begins the name of whatever is in the making: .fewbench.PLACE.PROCESS.RANDOM
DAY = 86_400  # seconds; nothing is in the making under such a name for so long
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
        named = error.filename is not None and TEMPORARY not in str(error.filename) and str(error.filename) not in action
        where = f" {error.filename}" if named else ""
        raise UserError(f"{action}{where}: {error.strerror or error}") from error


def regular_file(path: Path) -> Path:
    """The path of a file that can be read to its end: opening a pipe would wait, and a device may never end.

    Raises:
        OSError: there is something else under that name, a link that leads nowhere, or nothing.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"{KINDS.get(kind, 'something else')}, not a file", str(path))
    return path


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
        if path.exists():
            regular_file(path)  # a device or a pipe is not to be replaced by a file
        temporary = temporary_path(path.parent)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def temporary_path(folder: Path) -> Path:
    """A new name in a folder for what is in the making. What dead processes left there under such names is removed."""
    sweep(folder)
    return folder / f"{TEMPORARY}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}"


def sweep(folder: Path) -> None:
    """Remove from a folder what killed processes of this machine left in the making, and what others left a day ago."""
    for leftover in folder.glob(f"{TEMPORARY}.*"):
        with suppress(OSError, ValueError):  # another process may be sweeping too, or the folder is not ours to write
            place, process = leftover.name.removeprefix(f"{TEMPORARY}.").split(".")[:2]
            dead = place == _place() and not _alive(int(process))
            if dead or time.time() - leftover.lstat().st_mtime > DAY:
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()


@cache
def _place() -> str:
    """Where the numbers of processes mean the same: a machine, and on Linux a container of it."""
    container = ""
    with suppress(OSError):
        container = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{socket.gethostname()} {container}".encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    """Whether a process of this machine runs. On Windows nobody can be asked without harm, and all count as running."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there, so that no reader sees a part of it: it is renamed first."""
    if folder.exists():
        with os_errors_named(f"cannot remove {folder}"):
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            doomed = temporary_path(folder.parent)
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
