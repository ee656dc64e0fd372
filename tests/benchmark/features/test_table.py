import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone
from fewbench.benchmark.features import table as module
from fewbench.benchmark.features.encode import Encoding, encode
from fewbench.benchmark.features.runtime import version_of
from fewbench.benchmark.features.table import FEATURES, Encoded, FeatureTable, feature_table, key, table_of_rows
from fewbench.core.cache import MANIFEST
from fewbench.core.progress import SILENT, SilentProgress
from fewbench.core.unfinished import JOURNAL
from fewbench.tasks.datasets.split import Split

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
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row at which each encoding began: one entry a call."""
    calls: list[int] = []

    def counted(backbone: Any, images: Any, device: Any, encoding: Any, start: int, size: int | None) -> Any:
        calls.append(start)
        return encode(backbone, images, device, encoding, start, size)

    monkeypatch.setattr(module, "encode", counted)
    return calls


@pytest.fixture
def batches(backbone: LoadedBackbone) -> list[int]:
    """Images of each batch that the network was given."""
    sizes: list[int] = []
    backbone.module.register_forward_pre_hook(lambda network, inputs: sizes.append(len(inputs[0])))
    return sizes


def directly(backbone: LoadedBackbone, split: Split) -> torch.Tensor:
    with torch.no_grad():
        return backbone.module(backbone.preprocess(torch.from_numpy(np.array(split.images))))


def test_features_are_those_of_each_image_in_the_order_of_the_rows(backbone: LoadedBackbone, split: Split):
    table = feature_table(backbone, split, CPU, SILENT)
    assert table.features.shape == (360, backbone.feature_dim) and table.features.dtype == np.float32
    expected = directly(backbone, split)
    assert expected.std() > 0.1
    torch.testing.assert_close(torch.from_numpy(np.array(table.features)), expected, rtol=1e-4, atol=1e-5)


def test_a_split_is_encoded_once(backbone: LoadedBackbone, split: Split, encoded: list[int], own_cache: Path):
    first = feature_table(backbone, split, CPU, SILENT)
    again = feature_table(backbone, split, CPU, SILENT)
    assert encoded == [0]
    np.testing.assert_array_equal(first.features, again.features)
    assert len(list(own_cache.iterdir())) == 1
    assert not again.features.flags.writeable


def test_everything_that_changes_a_feature_misses_the_cache(backbone: LoadedBackbone, split: Split, encoded: list[int]):
    feature_table(backbone, split, CPU, SILENT)
    changed_backbones = [
        {"weights_sha256": "0" * 64},
        {"code": "version 2"},
        {"image_settings": {"mean": 0.4}},
        {"name": "conv5"},
        {"preprocess": replace(backbone.preprocess, mean=(0.4, 0.5, 0.5))},
    ]
    for change in changed_backbones:
        feature_table(replace(backbone, **change), split, CPU, SILENT)
    for change in ({"fingerprint": "0" * 64}, {"name": "val"}):
        feature_table(backbone, replace(split, **change), CPU, SILENT)
    assert len(encoded) == 8
    for change in ({"weights": "renamed"}, {"pretraining": {}}):  # which change no feature
        feature_table(replace(backbone, **change), split, CPU, SILENT)
    assert len(encoded) == 8


def test_a_new_version_of_the_encoding_misses_the_cache(backbone, split, encoded, monkeypatch: pytest.MonkeyPatch):
    feature_table(backbone, split, CPU, SILENT)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    feature_table(backbone, split, CPU, SILENT)
    assert len(encoded) == 2


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


def describe_as_before(folder: Path) -> None:
    """The description of tables that were made before the cache was one."""
    (folder / MANIFEST).rename(folder / "features.json")


@pytest.mark.parametrize("damage", [cut, overwrite, remove_features, describe_as_before])
def test_a_damaged_cache_is_made_again(backbone, split, encoded: list[int], own_cache: Path, damage):
    features = np.array(feature_table(backbone, split, CPU, SILENT).features)
    (folder,) = own_cache.iterdir()
    damage(folder)
    table = feature_table(backbone, split, CPU, SILENT)
    assert len(encoded) == 2
    np.testing.assert_array_equal(table.features, features)
    feature_table(backbone, split, CPU, SILENT)
    assert len(encoded) == 2 and [path.name for path in own_cache.iterdir()] == [folder.name]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"about": null}', "[]", "null"])
def test_a_damaged_description_is_noticed(backbone, split, encoded: list[int], own_cache: Path, text: str):
    feature_table(backbone, split, CPU, SILENT)
    (folder,) = own_cache.iterdir()
    (folder / MANIFEST).write_text(text)
    feature_table(backbone, split, CPU, SILENT)
    assert len(encoded) == 2


def test_the_description_holds_the_key(backbone, split, own_cache: Path):
    feature_table(backbone, split, CPU, SILENT)
    (folder,) = own_cache.iterdir()
    about = json.loads((folder / MANIFEST).read_text())["about"]
    assert about["key"] == json.loads(json.dumps(key(backbone, split)))
    assert about["key"]["fingerprint"] == split.fingerprint and about["key"]["weights"] == backbone.weights_sha256


def test_an_interrupted_encoding_is_gone_on_with_in_the_same_batches(backbone, split, encoded, batches, own_cache):
    encoding, calls = Encoding(batch_size=50), []

    def interrupt(network: Any, inputs: Any) -> None:
        calls.append(len(inputs[0]))
        if len(calls) == 5:  # the fourth batch is on its way
            raise KeyboardInterrupt

    hook = backbone.module.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        feature_table(backbone, split, CPU, SILENT, encoding)
    hook.remove()
    (unfinished,) = own_cache.iterdir()
    journal = (unfinished / JOURNAL).read_text().splitlines()
    seconds = json.loads(journal[-1])["seconds"]
    batches.clear()
    table = feature_table(backbone, split, CPU, SILENT, encoding)
    assert encoded == [0, 150] and batches == [50, 50, 50, 50, 10]
    assert table.encoded is not None and table.encoded.seconds >= round(seconds, 3) and table.encoded.images == 360
    (folder,) = own_cache.iterdir()
    found = (folder / FEATURES).read_bytes()
    (folder / MANIFEST).unlink()
    feature_table(backbone, split, CPU, SILENT, encoding)
    assert (folder / FEATURES).read_bytes() == found


def test_an_encoding_that_had_to_halve_its_batches_goes_on_with_the_half(backbone, split, encoded, batches, monkeypatch):
    def stopped(backbone: Any, images: Any, device: Any, encoding: Any, start: int, size: int | None) -> Any:
        for batch in encode(backbone, images, device, Encoding(batch_size=25), start, size):
            if start == 75:
                raise KeyboardInterrupt
            yield batch
            start += len(batch.features)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "encode", stopped)
        feature_table(backbone, split, CPU, SILENT)
    batches.clear()
    feature_table(backbone, split, CPU, SILENT)
    assert encoded == [75] and batches == [25] * 11 + [10]


def test_the_key_of_plain_encoding_never_changes(backbone: LoadedBackbone, split: Split):
    names = ["fingerprint", "split", "backbone", "parameters", "weights", "preprocess", "precision", "code"]
    plain = key(backbone, split)
    assert list(plain) == names and plain["precision"] == "fp32" and plain["code"] == [1, backbone.code]
    assert key(backbone, split, Encoding(batch_size=7)) == plain == key(backbone, split, device="cpu")


def test_the_table_of_another_device_has_another_key(backbone: LoadedBackbone, split: Split):
    assert key(backbone, split, device="cuda") == {**key(backbone, split), "device": "cuda"}


def test_precision_and_compiling_miss_the_cache(backbone: LoadedBackbone, split: Split, encoded: list[int]):
    plain = feature_table(backbone, split, CPU, SILENT)
    half = feature_table(backbone, split, CPU, SILENT, Encoding(precision="bf16"))
    assert half.features.dtype == np.float16
    feature_table(backbone, split, CPU, SILENT, Encoding(precision="bf16"))
    feature_table(backbone, split, CPU, SILENT, Encoding(batch_size=50))
    assert len(encoded) == 2
    assert key(backbone, split, Encoding(compile=True)) != key(backbone, split)
    np.testing.assert_allclose(half.features, plain.features, atol=0.1 * float(plain.features.std()))


def test_the_table_knows_how_it_was_encoded(backbone: LoadedBackbone, split: Split):
    table = feature_table(backbone, split, CPU, SILENT)
    assert table.encoded is not None and table.encoded.seconds > 0 and table.encoded.device_name
    assert replace(table.encoded, seconds=1.0, device_name="a CPU") == Encoded(
        360, 1.0, "cpu", "a CPU", "fp32", version_of("torch")
    )
    assert feature_table(backbone, split, CPU, SILENT).encoded == table.encoded


def test_a_few_rows_are_encoded_alone(backbone: LoadedBackbone, split: Split, own_cache: Path):
    rows = np.array([3, 300, 7])
    found = table_of_rows(backbone, split, rows, CPU, SILENT)
    torch.testing.assert_close(torch.from_numpy(found.features), directly(backbone, split)[rows], rtol=1e-4, atol=1e-5)
    assert not own_cache.exists()


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
        r"encoded 360 images at [\d,]+ images/s, that is [\d.,]+ Gflop/s: \d+ % of the [\d.,]+ Gflop/s that "
        "large products reach in fp32",
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
