"""Whatever lies where the cache keeps a file: it is made again, and the record is the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = ("run", "--method", "protonet", "--shots", "1", "--queries", "5", "--episodes", "50", "--device", "cpu")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def removed(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


KINDS = (pipe, device, dangling, circle, folder, removed, empty, cut, deep, changed)
FILES = ("datasets/*/test/images.npy", "datasets/*/test/manifest.json", "features/*/features.npy", "features/*/manifest.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache after a run."""
    return tmp_path_factory.mktemp("whole") / "cache"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_entry_is_made_again(
    name: str, kind: Callable[[Path], None], whole: Path, bench, tiny, tiny_weights, tmp_path: Path, monkeypatch
):
    command = (*RUN, "--dataset", tiny, "--weights", tiny_weights, "--json", "--output")
    if not whole.exists():
        monkeypatch.setenv("FEWBENCH_CACHE", str(whole))
        (whole.parent / "record.json").write_text(bench(*command, whole.parent / "results").output)
    shutil.copytree(whole, tmp_path / "cache")
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    (path,) = (tmp_path / "cache").glob(name)
    kind(path)
    done = bench(*command, tmp_path / "results")
    assert done.code == 0, done.error
    found, expected = (json.loads(text) for text in (done.output, (whole.parent / "record.json").read_text()))
    assert found["accuracy"] == expected["accuracy"] and found["task"] == expected["task"]
    assert path.is_file() and not path.is_symlink()
    assert not [path for path in (tmp_path / "cache").rglob(".*") if path.name.startswith((".fewbench", ".test"))]


@pytest.mark.parametrize("kind", ["a file", "a pipe", "no rights"])
def test_a_cache_that_cannot_be_one_is_named(kind: str, bench, tiny, tiny_weights, tmp_path: Path, monkeypatch):
    path = tmp_path / "cache"
    if kind == "a file":
        path.touch()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    else:
        path.mkdir(mode=0o500)
    monkeypatch.setenv("FEWBENCH_CACHE", str(path))
    done = bench(*RUN, "--dataset", tiny, "--weights", tiny_weights, "--output", tmp_path / "results")
    assert str(path) in done.message
