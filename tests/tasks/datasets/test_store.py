import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.progress import SILENT, Progress
from fewbench.tasks.datasets import store
from fewbench.tasks.datasets.base import Contents

# Damage that `check` must notice is in test_trifeature.py, through a real dataset.
ABOUT = {"dataset": "numbers", "version": "1"}


def contents(brightness: int = 0, names: tuple[str, str] = ("first", "second")) -> Contents:
    def fill(images: np.ndarray, progress: Progress) -> None:
        images[:] = np.arange(images.size).reshape(images.shape) % 100 + brightness

    return Contents(names, ("One", "Two"), (2, 3), (4, 5, 1), fill, sources=[f"{row}.png" for row in range(5)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.build(tmp_path / "test", contents(), ABOUT, SILENT)
    return tmp_path / "test"


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / store.MANIFEST).read_text(encoding="utf-8"))


def test_what_was_built_is_opened(folder: Path):
    assert store.check(folder) is None
    images, manifest = store.open_folder(folder)
    assert images.shape == (5, 4, 5, 1) and images.dtype == np.uint8
    assert images.reshape(-1).tolist() == list(range(100))
    assert not images.flags.writeable
    assert (manifest["class_ids"], manifest["counts"]) == (["first", "second"], [2, 3])
    assert manifest.items() >= ABOUT.items()
    assert (folder / store.SOURCES).read_text().split() == ["0.png", "1.png", "2.png", "3.png", "4.png"]


def test_the_fingerprint_is_of_images_and_classes_alone(folder: Path, tmp_path: Path):
    expected = manifest_of(folder)["fingerprint"]
    for name, content, about, same in [
        ("again", contents(), {"dataset": "other"}, True),
        ("brighter", contents(brightness=1), ABOUT, False),
        ("renamed", contents(names=("first", "third")), ABOUT, False),
    ]:
        store.build(tmp_path / name, content, about, SILENT)
        assert (manifest_of(tmp_path / name)["fingerprint"] == expected) == same, name


def test_a_failed_build_leaves_the_old_folder(folder: Path):
    def fill(images: np.ndarray, progress: Progress) -> None:
        images[:] = 7
        raise KeyboardInterrupt

    broken = Contents(("first", "second"), ("One", "Two"), (2, 3), (4, 5, 1), fill)
    with pytest.raises(KeyboardInterrupt):
        store.build(folder, broken, ABOUT, SILENT)
    assert store.check(folder, thorough=True) is None
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_a_copied_folder_is_sound_and_quick_to_open_again(folder: Path):
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copy)
    os.utime(copy / store.IMAGES, ns=(1, 1))
    assert store.check(copy) is None
    assert manifest_of(copy)["stamp"] == store.stamp(copy / store.IMAGES)
    assert manifest_of(copy)["fingerprint"] == manifest_of(folder)["fingerprint"]


def test_damage_behind_an_unchanged_stamp_is_found_by_a_thorough_check(folder: Path):
    status = (folder / store.IMAGES).stat()
    content = bytearray((folder / store.IMAGES).read_bytes())
    content[-1] ^= 1
    (folder / store.IMAGES).write_bytes(content)
    os.utime(folder / store.IMAGES, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.check(folder) is None
    assert store.check(folder, thorough=True) == "the prepared images are damaged"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stamp": 3}'])
def test_a_damaged_manifest_is_noticed(folder: Path, text: str):
    (folder / store.MANIFEST).write_text(text)
    assert store.check(folder) == "the prepared folder is damaged"


def test_a_folder_that_is_not_there_is_not_damaged(tmp_path: Path):
    assert store.check(tmp_path / "nothing") == store.ABSENT
