import json
import os
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.features import table as module
from fewbench.benchmark.features.encode import Encoding
from fewbench.benchmark.features.file import Reached
from fewbench.benchmark.features.table import ABOUT, FEATURES, FeatureTable, feature_table, key
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT, SilentProgress
from fewbench.tasks.datasets.base import Split

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
    write = module.write_features

    def counted(*arguments: Any) -> Reached:
        calls.append(arguments[-1])
        return write(*arguments)

    monkeypatch.setattr(module, "write_features", counted)
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
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
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


@pytest.mark.parametrize("writable", [True, False])
def test_a_copied_cache_is_used(backbone, split, encoded: list[str], own_cache: Path, monkeypatch, writable: bool):
    features = np.array(feature_table(backbone, split, CPU, SILENT)[0].features)
    (folder,) = own_cache.iterdir()
    for path in folder.iterdir():
        os.utime(path, ns=(0, 0))
    checked: list[Path] = []
    checksum_of = module.checksum_of
    monkeypatch.setattr(module, "checksum_of", lambda path, size: checked.append(path) or checksum_of(path, size))
    if not writable:
        monkeypatch.setattr(module, "write_atomically", refuse)
    for _ in range(2):
        table, cached = feature_table(backbone, split, CPU, SILENT)
        assert cached
        np.testing.assert_array_equal(table.features, features)
    assert len(encoded) == 1
    assert len(checked) == (1 if writable else 2)  # what was found is noted where that is possible


def refuse(path: Path, content: bytes) -> None:
    raise UserError(f"cannot write {path}")


def test_a_copy_without_a_checksum_is_made_again(backbone, split, own_cache: Path):
    feature_table(backbone, split, CPU, SILENT)
    (folder,) = own_cache.iterdir()
    about = json.loads((folder / ABOUT).read_text())
    del about["crc32"]  # as tables were written before
    (folder / ABOUT).write_text(json.dumps(about))
    assert feature_table(backbone, split, CPU, SILENT)[1]
    os.utime(folder / FEATURES, ns=(0, 0))
    assert not feature_table(backbone, split, CPU, SILENT)[1]


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
    assert about["crc32"] == zlib.crc32((folder / FEATURES).read_bytes())
    del about["stamp"], about["encoded"], about["crc32"]
    assert about == json.loads(json.dumps(module.key(backbone, split)))
    assert about["fingerprint"] == split.fingerprint and about["weights"] == backbone.weights_sha256


def test_the_key_of_plain_encoding_never_changes(backbone: LoadedBackbone, split: Split):
    names = ["fingerprint", "split", "backbone", "parameters", "weights", "preprocess", "precision", "code"]
    plain = key(backbone, split)
    assert list(plain) == names and plain["precision"] == "fp32" and plain["code"] == [1, backbone.source_sha256]
    assert key(backbone, split, Encoding(batch_size=7)) == plain == key(backbone, split, device="cpu")


def test_the_table_of_another_device_has_another_key(backbone: LoadedBackbone, split: Split):
    assert key(backbone, split, device="cuda") == {**key(backbone, split), "device": "cuda"}


def test_precision_and_compiling_miss_the_cache(backbone: LoadedBackbone, split: Split, encoded: list[str]):
    plain, _ = feature_table(backbone, split, CPU, SILENT)
    half, cached = feature_table(backbone, split, CPU, SILENT, Encoding(precision="bf16"))
    assert not cached and half.features.dtype == np.float16
    assert feature_table(backbone, split, CPU, SILENT, Encoding(precision="bf16"))[1]
    assert feature_table(backbone, split, CPU, SILENT, Encoding(batch_size=50))[1]
    assert len(encoded) == 2
    assert key(backbone, split, Encoding(compile=True)) != key(backbone, split)
    np.testing.assert_allclose(half.features, plain.features, atol=0.1 * float(plain.features.std()))


def test_the_table_knows_how_it_was_encoded(backbone: LoadedBackbone, split: Split, own_cache: Path):
    table, _ = feature_table(backbone, split, CPU, SILENT)
    assert table.encoded is not None and table.encoded["seconds"] > 0 and table.encoded["device_name"]
    assert {name: table.encoded[name] for name in ("images", "device", "precision")} == {
        "images": 360,
        "device": "cpu",
        "precision": "fp32",
    }
    assert feature_table(backbone, split, CPU, SILENT)[0].encoded == table.encoded
    (folder,) = own_cache.iterdir()
    about = json.loads((folder / ABOUT).read_text())
    del about["encoded"]  # as tables were written before
    (folder / ABOUT).write_text(json.dumps(about))
    table, cached = feature_table(backbone, split, CPU, SILENT)
    assert cached and table.encoded is None


def test_a_verbose_run_says_how_fast_it_was(backbone: LoadedBackbone, split: Split):
    class Verbose(SilentProgress):
        verbose = True

        def __init__(self) -> None:
            self.said: list[str] = []

        def say(self, message: str) -> None:
            self.said.append(message)

    listener = Verbose()
    feature_table(backbone, split, CPU, listener)
    (line,) = listener.said
    assert re.fullmatch(
        r"encoded 360 images at [\d,]+ images/s, that is [\d.,]+ Gflop/s: \d+ % of the [\d.,]+ Gflop/s of a "
        "large matrix product in fp32",
        line,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("limit", [2**30, 0], ids=["in memory", "on disk"])
def test_rows_are_gathered_the_same_from_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, dtype):
    monkeypatch.setattr(module, "IN_MEMORY", limit)
    features = np.random.default_rng(0).normal(size=(50, 7)).astype(dtype)
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
