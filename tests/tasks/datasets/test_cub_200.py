import tarfile
from pathlib import Path

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.class_lists import ListedClass
from fewbench.tasks.datasets import listed
from fewbench.tasks.datasets.cub_200 import Cub200

CLASSES = {"train": {"001.Albatross": 3, "003.Auklet": 2}, "val": {"002.Jay": 2}, "test": {"004.Wren": 4}}


@pytest.fixture
def small(monkeypatch):
    lists = {split: [ListedClass(split, key, key[4:]) for key in classes] for split, classes in CLASSES.items()}
    monkeypatch.setattr(listed, "listed_classes", lambda dataset, split: lists[split])
    monkeypatch.setattr(Cub200, "totals", {split: sum(classes.values()) for split, classes in CLASSES.items()})


@pytest.fixture
def copy(tmp_path, png) -> Path:
    for classes in CLASSES.values():
        for bird, count in classes.items():
            folder = tmp_path / "copy" / "CUB_200_2011" / "images" / bird
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{bird[4:]}_{number:04}_{99 - number}.jpg").write_bytes(png(int(bird[:3]), number, size=84))
    (tmp_path / "copy" / "CUB_200_2011" / "classes.txt").write_text("1 001.Albatross\n")
    return tmp_path / "copy"


def test_images_are_read_by_class_folder_and_file_name(small, copy, pixels):
    split = Cub200().prepare(copy)["train"]
    assert (split.class_ids, split.offsets.tolist()) == (("001.Albatross", "003.Auklet"), [0, 3, 5])
    expected = [pixels(bird, number, size=84) for bird, number in ((1, 0), (1, 1), (1, 2), (3, 0), (3, 1))]
    np.testing.assert_array_equal(split.images, expected)


def test_the_archive_gives_the_same(small, copy, tmp_path):
    expected = {name: split.fingerprint for name, split in Cub200().prepare(copy).items()}
    with tarfile.open(tmp_path / "CUB_200_2011.tgz", "w:gz") as archive:
        archive.add(copy / "CUB_200_2011", "CUB_200_2011")
    packed = Cub200().prepare(tmp_path / "CUB_200_2011.tgz", again=True)
    assert {name: split.fingerprint for name, split in packed.items()} == expected


def test_a_photograph_that_lacks_is_reported(small, copy):
    next((copy / "CUB_200_2011" / "images" / "004.Wren").iterdir()).unlink()
    with pytest.raises(UserError, match=r"the test classes have 3 images here, 4 as published; the smallest is 004\.Wren"):
        Cub200().prepare(copy)
    assert not Cub200().folder().exists()


def test_the_class_split_takes_turns():
    lists = {split: [class_id for class_id, _ in Cub200().class_list(split)] for split in CLASSES}
    numbers = {split: [int(class_id[:3]) for class_id in ids] for split, ids in lists.items()}
    assert numbers == {"train": list(range(1, 201, 2)), "val": list(range(2, 201, 4)), "test": list(range(4, 201, 4))}
    assert sum(Cub200.totals.values()) == 11_788
