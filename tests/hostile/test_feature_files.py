"""Files of features that are damaged, foreign or malicious: one line that names the file, or the true features."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.features.exchange import SUFFIXES, FeatureContents, write_contents
from fewbench.benchmark.features.imported import FEATURES, names
from fewbench.benchmark.features.importing import import_features
from fewbench.core.errors import UserError
from fewbench.core.options import build
from fewbench.core.progress import SILENT
from fewbench.core.unfinished import npy_header
from fewbench.tasks.datasets.base import Dataset

LONGEST = 500  # characters of a message
DAMAGES = 60  # of each suffix


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache for all tests of this file, in which none leaves an import."""
    monkeypatch.setenv("FEWBENCH_CACHE", str(cache))
    yield cache
    shutil.rmtree(cache / "imported", ignore_errors=True)


@pytest.fixture
def dataset(tiny: str) -> Dataset:
    return build(registry.load(registry.find("datasets", tiny)), {}, "dataset tiny")


@pytest.fixture
def features(dataset: Dataset) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(dataset.split("test").images), 3)).astype(np.float32)


@pytest.fixture
def entries(dataset: Dataset) -> dict[str, str]:
    metadata = {"backbone": {"name": "clip"}, "texts": [{"templates": ["a {}."], "class_names": ["cat"]}]}
    return {"fingerprint": dataset.split("test").fingerprint, "split": "test", "metadata": json.dumps(metadata)}


def refused(path: Path, dataset: Dataset) -> str:
    """What is said of a file that cannot be imported."""
    with pytest.raises(UserError) as caught:
        import_features(path, "mine", dataset, "test", SILENT)
    said = str(caught.value)
    assert path.name in said and said.isprintable() and len(said) < LONGEST, said
    assert names() == []
    return said


def damages(content: bytes, moments: random.Random) -> Iterator[bytes]:
    """A file cut, with bytes changed, with a stretch of zeros, with a part twice, and with a foreign head."""
    for number in range(DAMAGES):
        place = moments.randrange(len(content))
        length = moments.randrange(1, 64)
        yield [
            content[:place],
            content[:place] + bytes([moments.randrange(256)]) + content[place + 1 :],
            content[:place] + bytes(length) + content[place + length :],
            content[:place] + content[place : place + length] * 2 + content[place + length :],
            content[: length % 9] + bytes(moments.randrange(256) for _ in range(8)) + content[length % 9 + 8 :],
        ][number % 5]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_or_gives_finite_features_of_the_right_shape(suffix, dataset, features, entries, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="of the extra testbed")
    texts = {} if suffix == ".parquet" else {"text.0": np.ones((1, 3), np.float32)}
    if suffix == ".parquet":
        entries = {**entries, "metadata": "{}"}
    path = tmp_path / f"f{suffix}"
    write_contents(path, FeatureContents({"features": features, **texts}, entries))
    whole, refusals = path.read_bytes(), 0
    for content in damages(whole, random.Random(suffix)):
        path.write_bytes(content)
        try:
            found = import_features(path, "mine", dataset, "test", SILENT, overwrite=True).array(FEATURES)
        except UserError as error:
            said = str(error)
            assert path.name in said and said.isprintable() and len(said) < LONGEST, said
            refusals += 1
        else:
            assert found.shape == features.shape and np.isfinite(found).all()
            if suffix == ".npz":  # its members have checksums; of the two others a changed number is a number
                np.testing.assert_array_equal(found, features)
    assert refusals > DAMAGES // 4


def npz(path: Path, members: dict[str, bytes | np.ndarray]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            archive.writestr(name, content)
    return path


HEADERS: dict[str, bytes] = {
    "more rows than memory": npy_header((10**13, 640), np.dtype(np.float32)) + bytes(64),
    "more rows than there are": npy_header((360, 3), np.dtype(np.float32)) + bytes(64),
    "a negative shape": npy_header((-1, 3), np.dtype(np.float32)) + bytes(64),
    "an overflowing shape": npy_header((2**62, 2**62), np.dtype(np.float32)) + bytes(64),
    "a foreign version": b"\x93NUMPY\x09\x00" + bytes(120),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "code for a header": b"\x93NUMPY\x01\x00\x76\x00" + b"__import__('os').system('touch sprung')".ljust(118),
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_array_whose_head_lies(case: str, dataset, tmp_path):
    refused(npz(tmp_path / "f.npz", {"features.npy": HEADERS[case]}), dataset)
    assert not Path("sprung").exists()


def test_an_archive_that_inflates_far_beyond_its_size(dataset, tmp_path):
    path, shape = tmp_path / "f.npz", (400_000, 256)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("features.npy", "w") as file:
            file.write(npy_header(shape, np.dtype(np.float32)))
            for _ in range(400):
                file.write(bytes(1024 * 1000))
    assert path.stat().st_size < 3_000_000
    assert "it inflates to 0.4 GB, which features do not" in refused(path, dataset)


def test_a_member_twice(dataset, features, entries, tmp_path):
    np.savez(tmp_path / "f.npz", features=features, fingerprint=entries["fingerprint"])
    with zipfile.ZipFile(tmp_path / "f.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("features.npy", archive.read("features.npy")[::-1])
    assert "'features.npy' is there twice" in refused(tmp_path / "f.npz", dataset)


ARRAYS: dict[str, Callable[[np.ndarray], dict[str, Any]]] = {
    "complex numbers": lambda features: {"features": features.astype(np.complex64)},
    "text for numbers": lambda features: {"features": features.astype(str)},
    "records": lambda features: {"features": np.zeros(len(features), [("a", np.float32)])},
    "no dimension": lambda features: {"features": np.float32(1)},
    "three dimensions": lambda features: {"features": features[:, :, None]},
    "transposed": lambda features: {"features": features.T},
    "numbers too large for float32": lambda features: {"features": features.astype(np.float64) * 1e300},
    "not a number": lambda features: {"features": np.where(features > 3, np.nan, features * np.inf)},
    "rows of two dimensions": lambda features: {"features": features, "row": np.arange(len(features))[:, None]},
    "row numbers above 2^63": lambda features: {
        "features": features,
        "row": np.arange(len(features)).astype(np.uint64) + 2**63,
    },
    "rows as text": lambda features: {"features": features, "row": np.arange(len(features)).astype(str)},
    "one row too many": lambda features: {"features": np.concatenate([features, features[:1]])},
    "dates for classes": lambda features: {"features": features, "class_id": np.full(len(features), np.datetime64("2020"))},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_other_kinds(case: str, dataset, features, entries, tmp_path):
    np.savez(tmp_path / "f.npz", fingerprint=entries["fingerprint"], **ARRAYS[case](features))
    refused(tmp_path / "f.npz", dataset)


ENTRIES = {
    "another dataset, at length": {"dataset": "x" * 100_000},
    "a dataset of two lines": {"dataset": "tiny\nerror: all is well"},
    "a split that climbs": {"split": "../../test"},
    "a split of control characters": {"split": "test\x1b[2J"},
    "a fingerprint at length": {"fingerprint": "f" * 100_000},
    "a fingerprint of two lines": {"fingerprint": "f\nf"},
    "no JSON": {"metadata": "{'backbone': 1}"},
    "deep JSON": {"metadata": "[" * 100_000},
    "deep in the backbone": {"metadata": '{"backbone": {"more": ' + "[" * 500 + "]" * 500 + "}}"},
    "numbers that are none": {"metadata": '{"encoded": {"images": 1, "seconds": NaN, "device": "", "precision": ""}}'},
    "a half of a character": {"metadata": '{"backbone": {"name": "\\ud800"}}'},
    "a name at length": {"metadata": json.dumps({"texts": [{"templates": ["a"], "class_names": "x" * 100_000}]})},
    "texts without features": {"metadata": json.dumps({"texts": [{"templates": ["a"], "class_names": ["x"]}] * 1000})},
    "a negative network": {"metadata": '{"backbone": {"network_parameters": -1}}'},
}


@pytest.mark.parametrize("case", ENTRIES)
def test_entries_that_lie(case: str, dataset, features, entries, tmp_path):
    np.savez(tmp_path / "f.npz", features=features, **{**entries, "metadata": "{}", **ENTRIES[case]})
    refused(tmp_path / "f.npz", dataset)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file(suffix: str, dataset, tmp_path):
    path = tmp_path / f"f{suffix}"
    for make in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("nothing"),
        lambda: path.symlink_to(path.name),
        path.mkdir,
    ):
        make()
        refused(path, dataset)
        path.rmdir() if path.is_dir() else path.unlink()
