import errno
import os
import stat
import time
from pathlib import Path

import pytest

from fewbench.core import files
from fewbench.core.errors import UserError
from fewbench.core.files import (
    cache_root,
    folder_at_once,
    make_folder,
    os_errors_named,
    remove_folder,
    sha256_of,
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
        with folder_at_once(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == expected
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for action in (
        lambda: make_folder(tmp_path / "file" / "sub"),
        lambda: write_atomically(tmp_path / "file" / "x.json", b""),
        lambda: folder_at_once(tmp_path / "file" / "x").__enter__(),
    ):
        with pytest.raises(UserError, match=r"cannot create folder .*file"):
            action()


def test_only_errors_of_the_system_are_renamed():
    with pytest.raises(UserError, match=r"^cannot read: no reason$"), os_errors_named("cannot read"):
        raise OSError("no reason")
    with pytest.raises(KeyError), os_errors_named("cannot read"):
        raise KeyError("x")


def test_a_folder_appears_at_once(tmp_path: Path):
    final = tmp_path / "deep" / "folder"
    with folder_at_once(final) as temporary:
        (temporary / "a").write_text("1")
        assert not final.exists()
        assert temporary.parent == final.parent  # a rename across file systems would be a copy
    assert names(final) == {"a"}
    assert names(final.parent) == {"folder"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_is_not_finished_vanishes(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error), folder_at_once(tmp_path / "folder") as temporary:
        (temporary / "a").write_text("1")
        raise error
    assert names(tmp_path) == set()


def test_of_two_writers_the_first_to_finish_wins(tmp_path: Path):
    final = tmp_path / "folder"
    with folder_at_once(final) as slow:
        (slow / "who").write_text("slow")
        with folder_at_once(final) as quick:
            assert quick != slow
            (quick / "who").write_text("quick")
        assert (slow / "who").read_text() == "slow"
    assert (final / "who").read_text() == "quick"
    assert names(tmp_path) == {"folder"}


def test_a_file_in_the_folders_place_is_told(tmp_path: Path):
    (tmp_path / "folder").touch()
    with pytest.raises(UserError, match=r"cannot write .*folder"), folder_at_once(tmp_path / "folder"):
        pass
    assert names(tmp_path) == {"folder"}


def test_what_killed_writers_left_is_swept_when_old(tmp_path: Path):
    old, new, other = (tmp_path / name for name in (".folder.old", ".folder.new", ".others.old"))
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "half").touch()
    two_days_ago = time.time() - 2 * 86_400
    for folder in (old, other):
        os.utime(folder, (two_days_ago, two_days_ago))
    with folder_at_once(tmp_path / "folder"):
        pass
    assert names(tmp_path) == {"folder", ".folder.new", ".others.old"}


def test_a_leftover_that_another_writer_removes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / ".folder.gone"]))
    with folder_at_once(tmp_path / "folder"):
        pass
    assert names(tmp_path) == {"folder"}


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
