"""The library `datasets` is an extra: a stand-in has what these tests use of it, where it is not installed."""

import importlib
import importlib.util
import io
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from fewbench.benchmark import registry
from fewbench.core.errors import UsageError, UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
INSTALLED = importlib.util.find_spec("datasets") is not None
needs_library = pytest.mark.skipif(not INSTALLED, reason="needs the extra hf")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def dataset(name, **settings):
    return registry.make("datasets", f"hf:{name}", settings)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"dataset hf:cifar100 needs the library datasets: pip install 'fewbench\[hf\]'"):
        dataset("cifar100").split("test")


class Rows(list):
    """What the library gives: rows by number, columns by name."""

    def __init__(self, rows, features):
        super().__init__(rows)
        self.features = features

    def cast_column(self, name, kind):
        assert kind == "undecoded" and type(self.features[name]).__name__ == "Image"
        return self

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


Image_ = type("Image", (), {})
ClassLabel = type("ClassLabel", (), {"names": ["ash", "birch"]})


@pytest.fixture
def library(monkeypatch):
    """Two splits of the same two classes; `saved` tells what was opened."""
    features = {"img": Image_(), "label": ClassLabel(), "note": object()}
    rows = [{"img": {"bytes": png(pixels), "path": None}, "label": k % 2, "note": ""} for k, pixels in enumerate(PIXELS)]
    opened = []

    def load_dataset(*arguments, **named):
        opened.append((arguments, named))
        if arguments[0] == "absent":
            raise FileNotFoundError("no such\nrepository")
        return {"train": Rows(rows[:6], features), "test": Rows(rows[6:], features)}

    stand_in = SimpleNamespace(load_dataset=load_dataset, Image=lambda decode: "undecoded", opened=opened)
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    return stand_in


def test_class_names_and_parts_are_those_of_the_dataset(library):
    split = dataset("trees").split("test")
    assert (split.dataset, split.class_ids) == ("hf:trees", ("ash", "birch"))
    np.testing.assert_array_equal(split.images[:4], PIXELS[[6, 0, 2, 4]])
    np.testing.assert_array_equal(dataset("trees", parts="train").split("test").images[:3], PIXELS[[0, 2, 4]])
    dataset("trees", configuration="small").split("test")
    assert library.opened == [(("trees", None), {})] * 2 + [(("trees", "small"), {})]


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("absent", {}, UserError, "it cannot be opened: FileNotFoundError: no such repository"),
        ("./absent", {}, UserError, "dataset hf:./absent: no such file or folder"),
        ("trees", {"parts": "tset"}, UsageError, "no split 'tset'; did you mean 'test'"),
        ("trees", {"image": "image"}, UsageError, "no column 'image'"),
        ("trees", {"label": "lable"}, UsageError, "no column 'lable'; did you mean 'label'"),
    ],
)
def test_what_is_not_there_is_one_line(library, name, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        dataset(name, **settings).split("test")
    assert "\n" not in str(caught.value)


@needs_library
def test_a_local_parquet_file_is_read(tmp_path):
    datasets: Any = importlib.import_module("datasets")

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ash", "birch"])})
    rows = {"image": [{"bytes": png(one), "path": None} for one in PIXELS], "label": [0, 1] * 4}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.to_parquet(str(tmp_path / "trees.parquet"))
    made.save_to_disk(str(tmp_path / "saved"))
    for place in ("trees.parquet", "saved"):
        split = dataset(str(tmp_path / place)).split("test")
        assert split.class_ids == ("ash", "birch")
        np.testing.assert_array_equal(split.images, PIXELS[[0, 2, 4, 6, 1, 3, 5, 7]])


@needs_library
def test_a_parquet_file_without_features_says_which_columns(tmp_path):
    table = pyarrow.table({"picture": [png(one) for one in PIXELS], "kind": [0, 1] * 4})
    pyarrow.parquet.write_table(table, tmp_path / "plain.parquet")
    with pytest.raises(UsageError, match="which column has the image"):
        dataset(str(tmp_path / "plain.parquet")).split("test")
    split = dataset(str(tmp_path / "plain.parquet"), image="picture", label="kind").split("test")
    assert split.class_ids == ("0", "1") and len(split.images) == 8
