"""Files that are whole or absent: atomic writes, temporary names and their removal, regular files, and the cache folder."""

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

TEMPORARY = ".fewbench"  # first part of a temporary name: .fewbench.PLACE.PROCESS.RANDOM
DAY = 86_400  # seconds; no temporary file is in use for longer
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def cache_root() -> Path:
    """The cache folder: `$FEWBENCH_CACHE`, else the user's cache folder. All of its content can be made again."""
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
    """Return the path of a regular file. Opening a pipe would wait, and a device may never end.

    Raises:
        OSError: there is no file of that name, or it is a folder, a pipe, a device or a broken link.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"{KINDS.get(kind, 'something else')}, not a file", str(path))
    return path


def not_a_file(path: Path) -> str:
    """Why a path is no regular file, in words: "no such file", or "a folder, not a file"."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return "no such file"
    return f"{KINDS.get(kind, 'something else')}, not a file"


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
            regular_file(path)  # the file must not replace a device or a pipe
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
    """A new temporary name in a folder. Temporary files that dead processes left there are removed."""
    sweep(folder)
    return folder / f"{TEMPORARY}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}"


def sweep(folder: Path) -> None:
    """Remove temporary files from a folder: those of dead processes of this machine, and those older than a day."""
    for leftover in folder.glob(f"{TEMPORARY}.*"):
        with suppress(OSError, ValueError):  # another process may be sweeping too, or the folder is not writable
            place, process = leftover.name.removeprefix(f"{TEMPORARY}.").split(".")[:2]
            dead = place == _place() and not _alive(int(process))
            if dead or time.time() - leftover.lstat().st_mtime > DAY:
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()


@cache
def _place() -> str:
    """A hash of the machine, and on Linux of the container: process numbers are unique within one."""
    container = ""
    with suppress(OSError):
        container = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{socket.gethostname()} {container}".encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    """Whether a process of this machine runs. On Windows `os.kill` would end the process, so all count as running."""
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
    """Remove a folder where there is one. It is renamed first, so that no reader sees a part of it."""
    if folder.exists():
        with os_errors_named(f"cannot remove {folder}"):
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            doomed = temporary_path(folder.parent)
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def stamp(path: Path) -> list[int]:
    """A file's size in bytes and its modification time in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def state_of(path: Path) -> list[int]:
    """What changes with a file's content, also where size and modification time are kept: as by `cp -p`, `mv` and archives.

    These are size and modification time, the time of the last change of any kind, and the file's number on its disk.
    """
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        OSError: the file is not a regular one, or cannot be read.
    """
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
