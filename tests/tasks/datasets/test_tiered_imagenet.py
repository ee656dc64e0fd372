import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UserError
from fewbench.tasks.class_lists import ListedClass
from fewbench.tasks.datasets import listed
from fewbench.tasks.datasets.tiered_imagenet import TieredImageNet

# Class, its name in the list, the words by which the pickles name it, and how many images it has.
CLASSES = {
    "train": [("n01530575", "brambling", "brambling, Fringilla montifringilla", 3), ("n02012849", "crane (bird)", "crane", 2)],
    "val": [("n03710721", "maillot, tank suit", "maillot, tank suit", 2)],
    "test": [("n07565083", "menu", "menu", 4)],
}
TOTALS = {split: sum(count for *_, count in classes) for split, classes in CLASSES.items()}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    lists = {split: [ListedClass(split, key, name) for key, name, *_ in classes] for split, classes in CLASSES.items()}
    monkeypatch.setattr(listed, "listed_classes", lambda dataset, split: lists[split])
    monkeypatch.setattr(TieredImageNet, "totals", TOTALS)


def images_of(split: str) -> list[tuple[str, int]]:
    return [(class_id, number) for class_id, *_, count in CLASSES[split] for number in range(count)]


def write_tree(folder: Path, png) -> Path:
    """An ILSVRC-2012 tree, whose numbers do not sort as text."""
    for split in CLASSES:
        for class_id, number in images_of(split):
            file = folder / "train" / class_id / f"{class_id}_{9 + number}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(int(class_id[1:]), number, size=84))
    return folder


def write_pickles(folder: Path, pixels, npz: bool, dump=pickle.dumps) -> Path:
    """Ren et al.'s files: labels in no order of classes, images as BGR pixels or as PNG files that OpenCV wrote of them."""
    folder.mkdir()
    for split, classes in CLASSES.items():
        words = [text for _, _, text, _ in classes][::-1]
        numbers = {class_id: len(classes) - 1 - place for place, (class_id, *_) in enumerate(classes)}
        rows = images_of(split)
        labels = {"label_specific": np.array([numbers[key] for key, _ in rows]), "label_specific_str": words}
        (folder / f"{split}_labels.pkl").write_bytes(dump(labels))
        stack = [pixels(int(key[1:]), number, size=84) for key, number in rows]
        if npz:
            np.savez(folder / f"{split}_images.npz", images=np.stack(stack)[..., ::-1])
        else:
            encoded = []
            for image in stack:
                file = io.BytesIO()
                Image.fromarray(image).save(file, "PNG")
                encoded.append(np.frombuffer(file.getvalue(), np.uint8)[:, None])
            (folder / f"{split}_images_png.pkl").write_bytes(dump(encoded))
    return folder


def check(prepared, pixels) -> None:
    for split, classes in CLASSES.items():
        assert prepared[split].class_ids == tuple(class_id for class_id, *_ in classes)
        expected = [pixels(int(key[1:]), number, size=84) for key, number in images_of(split)]
        np.testing.assert_array_equal(prepared[split].images, expected)


def test_an_ilsvrc_tree_is_read_by_number(tmp_path, png, pixels):
    check(TieredImageNet().prepare(write_tree(tmp_path / "ILSVRC", png)), pixels)


@pytest.mark.parametrize("npz", [False, True])
def test_the_pickles_of_the_authors_are_read_by_words(tmp_path, pixels, npz):
    check(TieredImageNet().prepare(write_pickles(tmp_path / "tiered", pixels, npz)), pixels)


def test_the_pickles_of_python_2_are_read_inside_a_tar_file_too(tmp_path, pixels, python_2_pickle):
    folder = write_pickles(tmp_path / "tiered", pixels, npz=False, dump=python_2_pickle)
    with tarfile.open(tmp_path / "tiered-imagenet.tar", "w") as archive:
        archive.add(folder, "tiered-imagenet")
    check(TieredImageNet().prepare(tmp_path / "tiered-imagenet.tar"), pixels)


def test_a_split_with_too_few_images_is_reported(tmp_path, png):
    folder = write_tree(tmp_path / "ILSVRC", png)
    (folder / "train" / "n02012849" / "n02012849_9.JPEG").unlink()
    with pytest.raises(UserError, match=r"train classes have 4 images here, 5 as published; the smallest is n02012849 \(crane"):
        TieredImageNet().prepare(folder)
    assert not TieredImageNet().folder().exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train_labels.pkl", {"labels": [1]}, "not tieredImageNet's labels"),
        ("train_labels.pkl", {"label_specific": [7], "label_specific_str": ["brambling"]}, "not tieredImageNet's labels"),
        ("train_images_png.pkl", {"images": [1]}, "not tieredImageNet's images"),
        ("train_images_png.pkl", [np.zeros(3, np.uint8)], "1 images, but 5 labels"),
        ("train_images_png.pkl", [b"file"] * 5, "not tieredImageNet's images"),
        ("train_images_png.pkl", [np.zeros((9, 1), np.uint8)] * 5, r"train_images_png.pkl, image 0 \(not an image of a known"),
    ],
)
def test_a_pickle_of_another_form_is_one_line(tmp_path, pixels, name, content, message):
    folder = write_pickles(tmp_path / "tiered", pixels, npz=False)
    (folder / name).write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        TieredImageNet().prepare(folder)
    assert "\n" not in str(caught.value)


def test_images_without_labels_are_not_enough(tmp_path, pixels):
    folder = write_pickles(tmp_path / "tiered", pixels, npz=False)
    (folder / "train_labels.pkl").unlink()
    with pytest.raises(UserError, match="none of the train classes of tiered-imagenet is here"):
        TieredImageNet().prepare(folder)


def test_the_class_split_is_the_published_one(monkeypatch):
    monkeypatch.undo()
    assert [len(TieredImageNet().class_list(split)) for split in ("train", "val", "test")] == [351, 97, 160]
    assert sum(TieredImageNet.totals.values()) == 779_165
