import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.cache import MANIFEST
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.rendered.combined import Drawn
from fewbench.tasks.datasets.split import SPLITS, Split
from fewbench.tasks.datasets.store import IMAGES
from fewbench.tasks.datasets.trifeature import Trifeature
from fewbench.tasks.datasets.trifeature_features import COLOURS, SHAPES, TEXTURES
from fewbench.tasks.datasets.trifeature_rendering import render

TEST_FINGERPRINT = "2ec50b32a1603dc6fc13d421650571c5c445c4640dad44078bdd604030dab310"
# Of every 40th class.
SOME_IMAGES_SHA256 = {
    "train": "6cce5568088cc6f0a6b9e6d2b94ae17dde70873dd77f0e7caac473b2896ce7a7",
    "val": "b8e69adc3aad9610fd7b8f1ead8dd255543070deadfb881dfeeff9bece4b35cc",
}


@dataclass(frozen=True)
class FewClasses(Trifeature):
    def combinations(self, split: str) -> list[Drawn]:
        return super().combinations(split)[:3]


def combinations(split: str) -> list[tuple[str, ...]]:
    """(shape, texture, colour) of each class."""
    return [one.values for one in Trifeature().combinations(split)]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path))
    return FewClasses().split("val")


def test_classes_are_the_thousand_combinations_and_named_in_words():
    classes = [pair for split in SPLITS for pair in Trifeature().class_list(split)]
    assert {name for _, name in classes} == {f"{c} {t} {s}" for c in COLOURS for t in TEXTURES for s in SHAPES}
    assert len(classes) == 1000
    assert all(identifier == name.replace(" ", "-") for identifier, name in classes)
    assert all(word.isalpha() for _, name in classes for word in name.split())


@pytest.mark.parametrize(("split", "each"), [("train", 64), ("val", 16), ("test", 20)])
def test_every_feature_is_equally_frequent_in_a_split(split: str, each: int):
    attributes = combinations(split)
    for position, table in enumerate((SHAPES, TEXTURES, COLOURS)):
        assert Counter(features[position] for features in attributes) == dict.fromkeys(table, each)


def test_attributes_are_those_of_the_class_names():
    names = [name for _, name in Trifeature().class_list("test")]
    assert [f"{colour} {texture} {shape}" for shape, texture, colour in combinations("test")] == names


def test_an_unknown_split_is_refused():
    with pytest.raises(UsageError, match="did you mean 'train'"):
        Trifeature().class_list("trian")


def test_a_source_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="rendered, not imported"):
        Trifeature().contents("test", tmp_path, SILENT)


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_does_not_depend_on_the_others(shape: str, texture: str):
    together = render(shape, texture, "green", 3, 9)
    np.testing.assert_array_equal(render(shape, texture, "green", 7, 8), together[4:5])


def test_images_of_a_class_and_of_different_classes_differ():
    images = [render(s, t, c) for s, t, c in combinations("val")[:10]]
    assert len({image.tobytes() for block in images for image in block}) == 400


def test_the_test_split_from_an_empty_cache_is_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path))
    split = Trifeature().split("test")
    assert split.images.shape == (8000, 32, 32, 3)
    assert split.class_names == tuple(name for _, name in Trifeature().class_list("test"))
    assert split.fingerprint == TEST_FINGERPRINT
    assert [path.name for path in Trifeature().folder().iterdir()] == ["test"]


@pytest.mark.parametrize("split", SOME_IMAGES_SHA256)
def test_images_of_the_other_splits_are_the_published_ones(split: str):
    sha = hashlib.sha256()
    for shape, texture, colour in combinations(split)[::40]:
        sha.update(render(shape, texture, colour).tobytes())
    assert sha.hexdigest() == SOME_IMAGES_SHA256[split]


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / IMAGES).read_bytes())
    content[5000] ^= 1
    (folder / IMAGES).write_bytes(content)


def truncate(folder: Path) -> None:
    content = (folder / IMAGES).read_bytes()
    (folder / IMAGES).write_bytes(content[:-100])


def remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def rename_a_class(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["about"]["class_ids"][0] = "red-solid-square"
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, remove_manifest, rename_a_class])
def test_a_damaged_cache_is_noticed_and_built_again(prepared: Split, damage, listener):
    images = np.array(prepared.images)
    damage(FewClasses().folder() / "val")
    again = FewClasses().split("val", listener)
    np.testing.assert_array_equal(again.images, images)
    assert again.class_ids == prepared.class_ids
    assert len(listener.said) == 1
    assert "building it again" in listener.said[0]


def test_a_sound_cache_is_not_built_again(prepared: Split):
    folder = FewClasses().folder() / "val"
    written = (folder / IMAGES).stat().st_mtime_ns
    assert FewClasses().split("val").fingerprint == prepared.fingerprint
    assert (folder / IMAGES).stat().st_mtime_ns == written
