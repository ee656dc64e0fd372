import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark import feature_table as module
from fewbench.benchmark import registry
from fewbench.benchmark.backbones import encoding
from fewbench.benchmark.backbones.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.feature_table import ABOUT, FEATURES, FeatureTable, feature_table
from fewbench.tasks.datasets.base import Split
from fewbench.tasks.progress import SILENT

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEWBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def split(tiny: str) -> Split:
    return registry.load(registry.find("datasets", tiny))().split("test")


@pytest.fixture
def backbone(tiny_weights: Path) -> LoadedBackbone:
    return load_backbone("conv4", {}, tiny_weights)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was encoded: one entry a call."""
    calls: list[str] = []
    encode = encoding.encode

    def counted(*arguments) -> None:
        calls.append(arguments[-1])
        encode(*arguments)

    monkeypatch.setattr(encoding, "encode", counted)
    return calls


def directly(backbone: LoadedBackbone, split: Split) -> torch.Tensor:
    with torch.no_grad():
        return backbone.module(backbone.preprocess(torch.from_numpy(np.array(split.images))))


def test_features_are_those_of_each_image_in_the_order_of_the_rows(backbone: LoadedBackbone, split: Split):
    table, cached = feature_table(backbone, split, CPU, SILENT)
    assert not cached
    assert table.features.shape == (360, backbone.feature_dim) and table.features.dtype == np.float32
    expected = directly(backbone, split)
    assert expected.std() > 0.1
    torch.testing.assert_close(torch.from_numpy(np.array(table.features)), expected, rtol=1e-4, atol=1e-5)


def test_a_split_is_encoded_once(backbone: LoadedBackbone, split: Split, encoded: list[str], own_cache: Path):
    first, _ = feature_table(backbone, split, CPU, SILENT)
    again, cached = feature_table(backbone, split, CPU, SILENT)
    assert cached and encoded == ["encoding tiny test"]
    np.testing.assert_array_equal(first.features, again.features)
    assert len(list(own_cache.iterdir())) == 1
    assert not again.features.flags.writeable


def test_everything_that_changes_a_feature_misses_the_cache(backbone: LoadedBackbone, split: Split, encoded: list[str]):
    feature_table(backbone, split, CPU, SILENT)
    changed_backbones = [
        {"weights_sha256": "0" * 64},
        {"source_sha256": "0" * 64},
        {"parameters": {"width": 9}},
        {"name": "conv5"},
        {"preprocess": replace(backbone.preprocess, mean=(0.4, 0.5, 0.5))},
    ]
    for change in changed_backbones:
        assert not feature_table(replace(backbone, **change), split, CPU, SILENT)[1], change
    for change in ({"fingerprint": "0" * 64}, {"name": "val"}):
        assert not feature_table(backbone, replace(split, **change), CPU, SILENT)[1], change
    assert len(encoded) == 8
    for change in ({"weights": "renamed"}, {"pretraining": {}}):  # which change no feature
        assert feature_table(replace(backbone, **change), split, CPU, SILENT)[1], change


def test_a_new_version_of_the_encoding_misses_the_cache(backbone, split, encoded, monkeypatch: pytest.MonkeyPatch):
    feature_table(backbone, split, CPU, SILENT)
    monkeypatch.setattr(encoding, "VERSION", encoding.VERSION + 1)
    assert not feature_table(backbone, split, CPU, SILENT)[1]


def cut(folder: Path) -> None:
    os.truncate(folder / FEATURES, 400)


def overwrite(folder: Path) -> None:
    content = bytearray((folder / FEATURES).read_bytes())
    content[1000:1100] = bytes(100)
    (folder / FEATURES).write_bytes(content)
    status = (folder / FEATURES).stat()  # a file system with coarse times would not tell
    os.utime(folder / FEATURES, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def remove_features(folder: Path) -> None:
    (folder / FEATURES).unlink()


def remove_about(folder: Path) -> None:
    (folder / ABOUT).unlink()


@pytest.mark.parametrize("damage", [cut, overwrite, remove_features, remove_about])
def test_a_damaged_cache_is_made_again(backbone, split, encoded: list[str], own_cache: Path, damage):
    features = np.array(feature_table(backbone, split, CPU, SILENT)[0].features)
    (folder,) = own_cache.iterdir()
    damage(folder)
    table, cached = feature_table(backbone, split, CPU, SILENT)
    assert not cached and len(encoded) == 2
    np.testing.assert_array_equal(table.features, features)
    assert feature_table(backbone, split, CPU, SILENT)[1]
    assert len(list(own_cache.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "{}", '{"stamp": null}', "[]", "null"])
def test_a_damaged_description_is_noticed(backbone, split, own_cache: Path, text: str):
    feature_table(backbone, split, CPU, SILENT)
    (folder,) = own_cache.iterdir()
    (folder / ABOUT).write_text(text)
    assert not feature_table(backbone, split, CPU, SILENT)[1]


def test_the_description_holds_the_key(backbone, split, own_cache: Path):
    feature_table(backbone, split, CPU, SILENT)
    (folder,) = own_cache.iterdir()
    about = json.loads((folder / ABOUT).read_text())
    del about["stamp"]
    assert about == json.loads(json.dumps(module.key(backbone, split)))
    assert about["fingerprint"] == split.fingerprint and about["weights"] == backbone.weights_sha256


def test_an_interrupted_encoding_leaves_nothing(backbone, split, own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        feature_table(backbone, split, CPU, SILENT)
    assert list(own_cache.iterdir()) == []


def test_two_runs_that_encode_at_once_end_with_one_table(backbone, split, own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    encode, tables = encoding.encode, []

    def meanwhile(*arguments) -> None:
        monkeypatch.setattr(encoding, "encode", encode)
        tables.append(feature_table(backbone, split, CPU, SILENT)[0])  # the other run, from beginning to end
        encode(*arguments)

    monkeypatch.setattr(encoding, "encode", meanwhile)
    table, cached = feature_table(backbone, split, CPU, SILENT)
    assert not cached
    np.testing.assert_array_equal(table.features, tables[0].features)
    assert len(list(own_cache.iterdir())) == 1
    assert feature_table(backbone, split, CPU, SILENT)[1]


@pytest.mark.parametrize("limit", [2**30, 0], ids=["in memory", "on disk"])
def test_rows_are_gathered_the_same_from_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int):
    monkeypatch.setattr(module, "IN_MEMORY", limit)
    features = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    table = FeatureTable.of(np.load(tmp_path / "features.npy", mmap_mode="r"), CPU)
    assert (table.resident is None) == (limit == 0)
    rows = np.random.default_rng(1).integers(0, 50, size=(6, 4))
    gathered = table.gather(rows)
    assert gathered.dtype == torch.float32
    np.testing.assert_array_equal(gathered.numpy(), features[rows])
    np.testing.assert_allclose(table.mean().numpy(), features.astype(np.float64).mean(axis=0), rtol=1e-6)


def test_the_mean_of_many_rows_is_exact():
    features = np.full((70_000, 2), 1e4, np.float32)
    features[:, 1] = np.arange(70_000)
    assert FeatureTable.of(features, CPU).mean().tolist() == [1e4, 34_999.5]
