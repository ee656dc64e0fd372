import pickle

import numpy as np
import pytest
import torchvision
from PIL import Image

from fewbench.benchmark import registry
from fewbench.core.errors import UsageError, UserError


def dataset(name: str, **settings):
    return registry.make("datasets", f"torchvision:{name}", settings)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's files with twelve images: ten classes, those of train and test alike."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    names = {"label_names": ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]}
    for file, rows in {"data_batch_1": range(10), "test_batch": range(10, 20)}.items():
        (folder / file).write_bytes(pickle.dumps({"data": pixels[list(rows)], "labels": [row % 10 for row in rows]}))
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "meta", {**torchvision.datasets.CIFAR10.meta, "md5": None})
    return tmp_path / "root", pixels.reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)


def test_a_class_of_torchvision_brings_images_names_and_parts(cifar):
    root, pixels = cifar
    split = dataset("CIFAR10", root=str(root)).split("test")
    assert split.dataset == "torchvision:CIFAR10" and split.class_ids[:3] == ("bird", "car", "cat")
    assert np.diff(split.offsets).tolist() == [2] * 10  # train and test divide images, not classes
    np.testing.assert_array_equal(split.images[:2], pixels[[12, 2]])
    only = dataset("CIFAR10", root=str(root), parts="test").split("test")
    np.testing.assert_array_equal(only.images[0], pixels[12])


def test_folders_of_torchvision_and_rendered_images(tmp_path):
    for name in ("ä b", "c"):
        (tmp_path / "root" / name).mkdir(parents=True)
        Image.new("RGB", (30, 20), (9, 9, len(name))).save(tmp_path / "root" / name / "1.png")
    assert dataset("ImageFolder", root=str(tmp_path / "root")).split("test").class_ids == ("c", "ä b")
    fake = dataset("FakeData", size=16)
    assert fake.own_splits() == ("test",) and len(fake.class_list("test")) == 10


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("CIFAR1O0", {}, UsageError, "torchvision has no such class; did you mean 'CIFAR10'"),
        ("VisionDataset", {}, UsageError, "torchvision has no such class"),
        ("CIFAR100", {"root": "nowhere"}, UserError, r"torchvision does not open it \(root=nowhere\): Dataset not found"),
        ("FakeData", {"parts": "train"}, UsageError, "it has no parts"),
        ("CIFAR100", {"rot": "nowhere"}, UsageError, "no parameter 'rot'"),
    ],
)
def test_what_torchvision_does_not_have_is_one_line(name, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        dataset(name, **settings).split("test")
    assert "\n" not in str(caught.value)
