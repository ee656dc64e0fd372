import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.cache import MANIFEST
from fewbench.core.errors import UserError
from fewbench.core.files import stamp
from fewbench.core.progress import SILENT, Progress
from fewbench.tasks.datasets import store
from fewbench.tasks.datasets.base import Contents

# Damage that `check` must notice is in test_trifeature.py, through a real dataset.
ORIGIN = store.Origin("numbers", "1", {"count": 5}, "test", "a citation", "a licence", "a homepage", "a source")


def contents(brightness: int = 0, names: tuple[str, str] = ("first", "second")) -> Contents:
    def fill(images: np.ndarray, progress: Progress) -> None:
        images[:] = np.arange(images.size).reshape(images.shape) % 100 + brightness

    return Contents(names, ("One", "Two"), (2, 3), (4, 5, 1), fill, sources=[f"{row}.png" for row in range(5)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.build(tmp_path / "test", contents(), ORIGIN, SILENT)
    return tmp_path / "test"


def about(folder: Path) -> store.Prepared:
    found = store.prepared(folder)
    assert found is not None
    return found.about


def test_what_was_built_is_opened(folder: Path):
    assert store.check(folder) is None
    found = store.prepared(folder)
    assert found is not None
    images = found.array(store.IMAGES)
    assert images.shape == (5, 4, 5, 1) and images.dtype == np.uint8
    assert images.reshape(-1).tolist() == list(range(100))
    assert not images.flags.writeable
    assert (found.about.class_ids, found.about.counts) == (("first", "second"), (2, 3))
    assert found.about.origin == ORIGIN
    assert (folder / store.SOURCES).read_text().split() == ["0.png", "1.png", "2.png", "3.png", "4.png"]


def test_the_fingerprint_is_of_images_and_classes_alone(folder: Path, tmp_path: Path):
    expected = about(folder).fingerprint
    for name, content, origin, same in [
        ("again", contents(), replace(ORIGIN, dataset="other"), True),
        ("brighter", contents(brightness=1), ORIGIN, False),
        ("renamed", contents(names=("first", "third")), ORIGIN, False),
    ]:
        store.build(tmp_path / name, content, origin, SILENT)
        assert (about(tmp_path / name).fingerprint == expected) == same, name


def test_a_failed_build_leaves_the_old_folder(folder: Path):
    def fill(images: np.ndarray, progress: Progress) -> None:
        images[:] = 7
        raise KeyboardInterrupt

    broken = Contents(("first", "second"), ("One", "Two"), (2, 3), (4, 5, 1), fill)
    with pytest.raises(KeyboardInterrupt):
        store.build(folder, broken, ORIGIN, SILENT)
    assert store.check(folder, thorough=True) is None
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_a_copied_folder_is_sound_and_quick_to_open_again(folder: Path):
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copy)
    os.utime(copy / store.IMAGES, ns=(1, 1))
    assert store.check(copy) is None
    assert json.loads((copy / MANIFEST).read_text())["files"][store.IMAGES][:2] == stamp(copy / store.IMAGES)
    assert about(copy) == about(folder)


def test_damage_behind_an_unchanged_stamp_is_found_by_a_thorough_check(folder: Path):
    status = (folder / store.IMAGES).stat()
    content = bytearray((folder / store.IMAGES).read_bytes())
    content[-1] ^= 1
    (folder / store.IMAGES).write_bytes(content)
    os.utime(folder / store.IMAGES, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.check(folder) is None
    assert store.check(folder, thorough=True) == "images.npy is damaged"


def edited(key: str, value: object) -> Callable[[str], str]:
    def edit(text: str) -> str:
        content = json.loads(text)
        content["about"][key] = value
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: '{"about": 3}',
        lambda text: text.replace('"images.npy": [', '"images.npy": ["x",'),
        lambda text: "[" * 100_000,
        edited("counts", [2, "3"]),
        edited("shape", [5, 4]),
        edited("class_ids", None),
    ],
)
def test_a_damaged_manifest_is_noticed(folder: Path, damage: Callable[[str], str]):
    (folder / MANIFEST).write_text(damage((folder / MANIFEST).read_text()))
    assert store.check(folder) == "the folder is damaged, or of another version of fewbench"


def test_a_manifest_whose_fingerprint_is_not_that_of_its_images_is_noticed(folder: Path):
    for key, value in (("class_ids", ["first", "third"]), ("counts", [3, 2]), ("fingerprint", "0" * 64)):
        whole = (folder / MANIFEST).read_text()
        (folder / MANIFEST).write_text(edited(key, value)(whole))
        assert store.check(folder) == "the manifest is damaged"
        (folder / MANIFEST).write_text(whole)


def test_a_folder_as_it_was_prepared_before_the_cache_was_one_is_made_again(folder: Path):
    """Its manifest held everything at its top, and the state of the images as `stamp`."""
    old = {"dataset": "numbers", "shape": [5, 4, 5, 1], "counts": [2, 3], "stamp": stamp(folder / store.IMAGES)}
    (folder / MANIFEST).write_text(json.dumps(old))
    assert store.check(folder) == "the folder is damaged, or of another version of fewbench"
    store.build(folder, contents(), ORIGIN, SILENT)
    assert store.check(folder, thorough=True) is None


def test_a_name_that_no_manifest_can_hold_is_told(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot write .*odd: class_ids\[0\] is not Unicode text"):
        store.build(tmp_path / "odd", contents(names=("\udcff", "b")), ORIGIN, SILENT)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_damaged(tmp_path: Path):
    assert store.check(tmp_path / "nothing") == store.ABSENT
