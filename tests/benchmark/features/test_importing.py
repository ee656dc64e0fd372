"""Files of any origin, imported for the tiny dataset of the tests, whose images have no names."""

import json
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.features.exchange import SUFFIXES, FeatureContents, write_contents
from fewbench.benchmark.features.imported import FEATURES, open_import, text_file
from fewbench.benchmark.features.importing import import_features
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.datasets.base import Dataset

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def features(dataset) -> np.ndarray:
    count = len(dataset.split("test").images)
    return np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)


@pytest.fixture
def entries(dataset) -> dict[str, str]:
    return {"fingerprint": dataset.split("test").fingerprint}


def imported(path: Path, dataset: Dataset, split: str | None = "test"):
    return import_features(path, "mine", dataset, split, SILENT)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_plain_file_needs_no_description(suffix: str, dataset, features, entries, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="of the extra testbed")
    write_contents(tmp_path / f"f{suffix}", FeatureContents({"features": features}, entries))
    imported(tmp_path / f"f{suffix}", dataset)
    found = open_import("mine", dataset, "test")
    np.testing.assert_array_equal(found.array(FEATURES), features)
    assert found.about.made_by == {} and found.about.encoded is None and found.about.texts == ()


def test_numpy_alone_writes_such_a_file(dataset, features, entries, tmp_path):
    order = np.random.default_rng(1).permutation(len(features))
    mixed = features[order].astype(np.float16)
    np.savez(tmp_path / "f.npz", features=mixed, row=order, fingerprint=entries["fingerprint"], split="test")
    found = imported(tmp_path / "f.npz", dataset, None)
    assert found.array(FEATURES).dtype == np.float16
    np.testing.assert_array_equal(found.array(FEATURES), features.astype(np.float16))


def test_the_split_is_the_files_or_the_users_and_never_two(dataset, features, entries, tmp_path):
    path = tmp_path / "f.npz"
    write_contents(path, FeatureContents({"features": features}, entries))
    with pytest.raises(UsageError, match="does not say of which class split it is; name it with --split"):
        imported(path, dataset, None)
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean 'test'"):
        imported(path, dataset, "tset")
    with pytest.raises(UserError, match="made from other images than the val split of tiny"):
        imported(path, dataset, "val")
    write_contents(path, FeatureContents({"features": features}, {**entries, "split": "test"}))
    with pytest.raises(UsageError, match="features of the test split, not of val; leave --split out"):
        imported(path, dataset, "val")
    write_contents(path, FeatureContents({"features": features}, {**entries, "split": "../test"}))
    with pytest.raises(UsageError, match=r"unknown split '\.\./test'"):
        imported(path, dataset, None)


def test_features_of_another_dataset(dataset, features, entries, tmp_path):
    write_contents(tmp_path / "f.npz", FeatureContents({"features": features}, {**entries, "dataset": "omniglot"}))
    with pytest.raises(UsageError, match="features of omniglot, not of tiny; name it with --dataset"):
        imported(tmp_path / "f.npz", dataset)


def test_a_bad_name_is_refused_before_the_file_is_read(dataset, tmp_path):
    with pytest.raises(UsageError, match=r"'\.\./out' cannot name imported features"):
        import_features(tmp_path / "absent.npz", "../out", dataset, "test", SILENT)


METADATA = {
    "{": "its entry 'metadata' is not JSON",
    "[]": "metadata is not a section",
    '{"backbone": "clip"}': "metadata.backbone is not a section",
    '{"backbone": {"pretraining": {"dataset": "LAION"}}}': "metadata.backbone.pretraining.recipe is missing",
    '{"backbone": {"network_parameters": "many"}}': "metadata.backbone.network_parameters is not a whole number",
    '{"encoded": {"images": 3}}': "metadata.encoded.seconds is missing",
    '{"texts": [{"templates": ["a {}."]}]}': r"metadata.texts\[0\].class_names is missing",
    '{"texts": [{"templates": [], "class_names": ["cat"]}]}': "metadata.texts has no templates or no class names",
    "[" * 10_000: "its entry 'metadata' is not JSON",
    '{"texts": [{"templates": [1], "class_names": ["cat"]}]}': r"metadata.texts\[0\].templates\[0\] is not text",
}


@pytest.mark.parametrize("metadata", METADATA)
def test_a_description_that_is_none(metadata: str, dataset, features, entries, tmp_path):
    write_contents(tmp_path / "f.npz", FeatureContents({"features": features}, {**entries, "metadata": metadata}))
    with pytest.raises(UserError, match=METADATA[metadata]) as caught:
        imported(tmp_path / "f.npz", dataset)
    assert "\n" not in str(caught.value)


class TestFeaturesOfClassNames:
    TEXTS = json.dumps({"texts": [{"templates": ["a {}."], "class_names": ["cat", "dog"]}]})
    VECTORS = np.array([[3.0, 4, 0], [0, 0, 1]])

    def written(self, tmp_path: Path, features, entries, **arrays) -> Path:
        contents = FeatureContents({"features": features, **arrays}, {**entries, "metadata": self.TEXTS})
        write_contents(tmp_path / "f.npz", contents)
        return tmp_path / "f.npz"

    def test_they_are_scaled_to_length_1(self, dataset, features, entries, tmp_path):
        found = imported(self.written(tmp_path, features, entries, **{"text.0": self.VECTORS}), dataset)
        (text,), vectors = found.about.texts, found.array(text_file(0))
        assert text.class_names == ("cat", "dog") and vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, [[0.6, 0.8, 0], [0, 0, 1]], rtol=1e-6)

    def test_those_of_length_1_are_left_to_the_last_bit(self, dataset, features, entries, tmp_path):
        vectors = np.random.default_rng(2).normal(size=(2, 3))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        found = imported(self.written(tmp_path, features, entries, **{"text.0": vectors}), dataset)
        np.testing.assert_array_equal(found.array(text_file(0)), vectors)

    @pytest.mark.parametrize("case", ["absent", "wide", "few", "whole", "zero", "nan"])
    def test_bad_ones_are_told(self, case: str, dataset, features, entries, tmp_path):
        vectors = {
            "wide": np.ones((2, 4)),
            "few": np.ones((1, 3)),
            "whole": np.ones((2, 3), int),
            "zero": np.array([[1.0, 0, 0], [0, 0, 0]]),
            "nan": np.array([[1.0, 0, 0], [0, np.nan, 0]]),
        }
        path = self.written(tmp_path, features, entries, **({"text.0": vectors[case]} if case in vectors else {}))
        message = "zero, NaN or infinite" if case in ("zero", "nan") else r"should be numbers \[2, 3\]"
        with pytest.raises(UserError, match=message):
            imported(path, dataset)
