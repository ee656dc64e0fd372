import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.cifar_100 import Cifar100Subset
from fewbench.tasks.datasets.cifar_fs import CifarFs
from fewbench.tasks.datasets.fc100 import Fc100

NAMES = sorted(name for split in ("train", "val", "test") for name, _ in CifarFs().class_list(split))
PER_CLASS = {"train": 2, "test": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(Cifar100Subset, "per_class", 3)


def batch(part: str, pixels) -> dict:
    """One of the python archive's files, its images shuffled."""
    rows = [(label, number) for label in range(100) for number in range(PER_CLASS[part])]
    rows = [rows[row] for row in np.random.default_rng(0).permutation(len(rows))]
    return {
        "filenames": [f"{NAMES[label]}_s_{number:06}_{part}.png" for label, number in rows],
        "fine_labels": [label for label, _ in rows],
        "data": np.stack([image(pixels, part, label, number).transpose(2, 0, 1).reshape(-1) for label, number in rows]),
    }


def image(pixels, part: str, label: int, number: int) -> np.ndarray:
    return pixels(label, number, len(part), size=32)


def write_archive(folder: Path, pixels, dump) -> Path:
    (folder / "cifar-100-python").mkdir(parents=True)
    for part in PER_CLASS:
        (folder / "cifar-100-python" / part).write_bytes(dump(batch(part, pixels)))
    (folder / "cifar-100-python" / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES}))
    return folder


def write_tree(folder: Path, pixels) -> Path:
    for part, count in PER_CLASS.items():
        for label, name in enumerate(NAMES):
            for number in range(count):
                file = folder / "cifar100" / "data" / name / f"{name}_s_{number:06}_{part}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image(pixels, part, label, number)).save(file)
    return folder


def test_rows_are_classes_of_the_list_and_images_by_file_name(tmp_path, pixels, python_2_pickle):
    split = CifarFs().prepare(write_archive(tmp_path / "cifar", pixels, python_2_pickle), ["test"])["test"]
    assert split.class_ids == tuple(name for name, _ in CifarFs().class_list("test"))
    label = NAMES.index(split.class_ids[1])
    expected = [image(pixels, part, label, number) for part, number in (("test", 0), ("train", 0), ("train", 1))]
    np.testing.assert_array_equal(split.images[3:6], expected)


@pytest.mark.parametrize("form", ["tar.gz", "unpacked", "in it", "python 3", "tree"])
@pytest.mark.parametrize("dataset", [CifarFs, Fc100])
def test_every_form_gives_the_same_dataset(tmp_path, pixels, python_2_pickle, dataset, form):
    folder = write_archive(tmp_path / "cifar", pixels, pickle.dumps if form == "python 3" else python_2_pickle)
    expected = {name: split.fingerprint for name, split in dataset().prepare(folder).items()}
    if form == "tar.gz":
        with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz") as archive:
            archive.add(folder / "cifar-100-python", "cifar-100-python")
        folder = tmp_path / "cifar-100-python.tar.gz"
    elif form == "in it":
        folder = folder / "cifar-100-python"
    elif form == "tree":
        folder = write_tree(tmp_path / "tree", pixels)
    again = dataset().prepare(folder, again=True)
    assert {name: split.fingerprint for name, split in again.items()} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: {**content, "fine_labels": content["fine_labels"][1:]}, "not one of CIFAR-100's python files"),
        (lambda content: {**content, "fine_labels": [100] * 200}, "not one of CIFAR-100's python files"),
        (lambda content: {**content, "data": content["data"].astype(float)}, "not one of CIFAR-100's python files"),
        (lambda content: {"data": content["data"]}, "not one of CIFAR-100's python files"),
        (lambda content: Path("x"), "this pickle holds a call of pathlib"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, pixels, change, message):
    folder = write_archive(tmp_path / "cifar", pixels, lambda content: pickle.dumps(change(content)))
    with pytest.raises(UserError, match=r"cifar-100-python/t\w+: ") as caught:
        CifarFs().prepare(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_that_lacks_is_reported(tmp_path, pixels):
    folder = write_archive(tmp_path / "cifar", pixels, pickle.dumps)
    (folder / "cifar-100-python" / "test").unlink()
    with pytest.raises(UserError, match=r"class apple .* has 2 images here, 3 as published, and 63 more classes differ"):
        CifarFs().prepare(folder)


@pytest.mark.parametrize(("dataset", "sizes"), [(CifarFs, [64, 16, 20]), (Fc100, [60, 20, 20])])
def test_the_class_splits_are_the_published_ones(dataset, sizes):
    lists = [[name for name, _ in dataset().class_list(split)] for split in ("train", "val", "test")]
    assert [len(names) for names in lists] == sizes
    assert sorted(name for names in lists for name in names) == NAMES
    assert dataset().side == 32
