import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fewbench.core import files
from fewbench.core.errors import UserError
from fewbench.core.files import (
    cache_root,
    make_folder,
    os_errors_named,
    regular_file,
    remove_folder,
    sha256_of,
    sweep,
    temporary_path,
    write_atomically,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_content_replaces_what_was_there(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == {"file.txt"}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full) if failing == "fsync" else monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*file\.txt: No space left on device") as caught:
        write_atomically(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file.txt"}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", b"new")
    assert names(tmp_path) == set()


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, seen = tmp_path / "file.txt", []
    write_atomically(path, b"old")
    sync = os.fsync

    def look(handle: int) -> None:
        sync(handle)
        seen.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", look)
    write_atomically(path, b"x" * 100_000)
    assert seen == [b"old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_and_folders_are_as_readable_as_the_users_others(tmp_path: Path, mask: int, expected: int):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file.txt", b"")
        temporary_path(tmp_path).mkdir()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == expected
    assert stat.S_IMODE(next(tmp_path.glob(".fewbench.*")).stat().st_mode) == 0o777 & ~mask


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for action in (
        lambda: make_folder(tmp_path / "file" / "sub"),
        lambda: write_atomically(tmp_path / "file" / "x.json", b""),
    ):
        with pytest.raises(UserError, match=r"cannot create folder .*file"):
            action()


def test_only_errors_of_the_system_are_renamed():
    with pytest.raises(UserError, match=r"^cannot read: no reason$"), os_errors_named("cannot read"):
        raise OSError("no reason")
    with pytest.raises(KeyError), os_errors_named("cannot read"):
        raise KeyError("x")


def dead_process() -> int:
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True).stdout)


def leftover(folder: Path, process: int, age: float = 0.0, place: str | None = None) -> Path:
    """A folder that a process had in the making, so many seconds ago."""
    _, mark, here, _, token = temporary_path(folder).name.split(".")
    left = folder / f".{mark}.{place or here}.{process}.{token}"
    left.mkdir()
    (left / "half").touch()
    when = time.time() - age
    os.utime(left, (when, when))
    return left


def test_what_dead_processes_left_is_swept_and_nothing_else(tmp_path: Path):
    dead, day = dead_process(), 86_400
    gone = [leftover(tmp_path, dead), leftover(tmp_path, 1, 2 * day), leftover(tmp_path, dead, 2 * day, "elsewhere")]
    kept = [leftover(tmp_path, os.getpid()), leftover(tmp_path, 1), leftover(tmp_path, dead, place="elsewhere")]
    others = [".fewbench", ".fewbench.toml", ".fewbench.a.b.c", "file.fewbench.x"]
    for name in others:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "file.txt", b"")
    assert names(tmp_path) == {"file.txt", *others, *(path.name for path in kept)}
    assert not any(path.exists() for path in gone)


def test_a_link_in_the_place_of_a_leftover_leads_nobody_astray(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    left = leftover(tmp_path, dead_process())
    (left / "half").unlink()
    left.rmdir()
    left.symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    assert names(tmp_path) == {"mine"} and names(tmp_path / "mine") == {"precious"}


def test_a_leftover_that_another_process_sweeps_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = leftover(tmp_path, dead_process())
    (gone / "half").unlink()
    gone.rmdir()
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone]))
    write_atomically(tmp_path / "file.txt", b"")
    assert names(tmp_path) == {"file.txt"}


def test_a_killed_write_is_swept_by_the_next(tmp_path: Path):
    kill = (
        "import os; from pathlib import Path; from fewbench.core.files import write_atomically\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        f"write_atomically(Path({str(tmp_path / 'file.txt')!r}), b'half')\n"
    )
    assert subprocess.run([sys.executable, "-c", kill]).returncode == -9
    assert len(names(tmp_path)) == 1
    write_atomically(tmp_path / "other.txt", b"")
    assert names(tmp_path) == {"other.txt"}


def test_a_regular_file_and_a_link_to_one_can_be_read(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert regular_file(tmp_path / "file") == tmp_path / "file"
    assert regular_file(tmp_path / "link") == tmp_path / "link"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to pipe").symlink_to("pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    for path, told in (
        (tmp_path / "pipe", "a named pipe, not a file"),
        (tmp_path / "folder", "a folder, not a file"),
        (tmp_path / "to pipe", "a named pipe, not a file"),
        (Path("/dev/zero"), "a device, not a file"),
        (tmp_path / "dangling", "No such file or directory"),
        (tmp_path / "circle", "Too many levels of symbolic links"),
    ):
        with pytest.raises(UserError) as caught, os_errors_named("cannot read"):
            regular_file(path)
        assert str(caught.value) == f"cannot read {path}: {told}"


def test_removing_takes_the_folder_away_before_emptying_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").touch()
    rmtree, there = files.shutil.rmtree, []

    def look(path: Path, ignore_errors: bool) -> None:
        there.append((tmp_path / "folder").exists())
        rmtree(path, ignore_errors)

    monkeypatch.setattr(files.shutil, "rmtree", look)
    remove_folder(tmp_path / "folder")
    remove_folder(tmp_path / "folder")  # nothing to do
    assert there == [False]
    assert names(tmp_path) == set()


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "elsewhere"))
    assert cache_root() == tmp_path / "elsewhere"
    monkeypatch.delenv("FEWBENCH_CACHE")
    assert "fewbench" in cache_root().parts and cache_root().is_absolute()
    monkeypatch.setenv("FEWBENCH_CACHE", "")
    assert cache_root().is_absolute()


def test_sha256_is_that_of_the_bytes(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
