import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark.features.exchange import SUFFIXES, FeatureContents, read_contents, write_contents
from fewbench.core.errors import UsageError, UserError

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
SOURCES = np.array(["a/1.jpg", "a/2.jpg", "ü b/1.jpg", ""], dtype=object)
ENTRIES = {"fingerprint": "0123", "split": "test", "metadata": json.dumps({"backbone": {"name": "Größe"}})}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_written_is_read(suffix: str, dtype: type, tmp_path: Path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="of the extra testbed")
    path = tmp_path / f"features{suffix}"
    arrays = {"features": FEATURES.astype(dtype), "row": np.array([3, 1, 0, 2]), "source": SOURCES}
    write_contents(path, FeatureContents(arrays, ENTRIES))
    found = read_contents(path)
    assert found.entries == ENTRIES and found.arrays.keys() == arrays.keys()
    assert found.arrays["features"].dtype == dtype
    np.testing.assert_array_equal(found.arrays["features"], FEATURES.astype(dtype))
    assert found.arrays["row"].tolist() == [3, 1, 0, 2]
    assert list(map(str, found.arrays["source"])) == list(SOURCES)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_features_of_class_names_are_kept(suffix: str, tmp_path: Path):
    path = tmp_path / f"features{suffix}"
    write_contents(path, FeatureContents({"features": FEATURES, "text.0": FEATURES[:2]}))
    np.testing.assert_array_equal(read_contents(path).arrays["text.0"], FEATURES[:2])


def test_parquet_has_no_place_for_features_of_class_names(tmp_path: Path):
    pytest.importorskip("pyarrow", reason="of the extra testbed")
    path = tmp_path / "features.parquet"
    with pytest.raises(UsageError, match=r"no place .* take \.npz or \.safetensors"):
        write_contents(path, FeatureContents({"features": FEATURES, "text.0": FEATURES[:2]}))
    assert not path.exists()


def test_bfloat16_is_read_as_float32(tmp_path: Path):
    from safetensors.torch import save_file

    save_file({"features": torch.tensor([[1.5, -2.25]], dtype=torch.bfloat16)}, tmp_path / "b.safetensors")
    found = read_contents(tmp_path / "b.safetensors").arrays["features"]
    assert found.dtype == np.float32 and found.tolist() == [[1.5, -2.25]]


def test_another_suffix_is_refused(tmp_path: Path):
    for touch in (read_contents, lambda path: write_contents(path, FeatureContents({"features": FEATURES}))):
        with pytest.raises(UsageError, match=r"ends in \.npz, \.safetensors, \.parquet"):
            touch(tmp_path / "features.pt")


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "trap.npz", features=FEATURES, source=np.array([Trap()], dtype=object))
    with pytest.raises(UserError, match=r"Python objects, which are never unpickled; .*to_numpy\(str\)"):
        read_contents(tmp_path / "trap.npz")
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"no whole \.npz file"):
        read_contents(tmp_path / "plain.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 1, 40, -20])
def test_a_cut_file_is_told_in_one_line(suffix: str, keep: int, tmp_path: Path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="of the extra testbed")
    path = tmp_path / f"features{suffix}"
    write_contents(path, FeatureContents({"features": FEATURES}, ENTRIES))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"features{suffix} is no whole {suffix} file") as caught:
        read_contents(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_told(suffix: str, tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot read .*features.*No such file"):
        read_contents(tmp_path / f"features{suffix}")


def test_what_is_no_array_of_numbers_is_told(tmp_path: Path):
    from safetensors.torch import save_file

    np.savez(tmp_path / "more.npz", features=FEATURES)
    with zipfile.ZipFile(tmp_path / "more.npz", "a") as archive:
        archive.writestr("README.txt", "of a stranger")
    with pytest.raises(UserError, match=r"no whole \.npz file \(README\.txt in it is no array\)"):
        read_contents(tmp_path / "more.npz")
    np.savez(tmp_path / "bytes.npz", features=FEATURES, dataset=np.array("é".encode()))
    with pytest.raises(UserError, match=r"bytes\.npz is no whole \.npz file"):
        read_contents(tmp_path / "bytes.npz")
    save_file({"features": torch.zeros(2, 3, dtype=torch.float8_e4m3fn)}, tmp_path / "small.safetensors")
    with pytest.raises(UserError, match=r"small\.safetensors: 'features' is of type torch\.float8_e4m3fn; take float32"):
        read_contents(tmp_path / "small.safetensors")


def test_a_list_in_a_header_has_to_be_one(tmp_path: Path):
    from safetensors.numpy import save_file

    for text in ("[1, 2]", "a,b", '{"a": 1}', 100_000 * "["):
        save_file({"features": FEATURES}, tmp_path / "f.safetensors", metadata={"source": text})
        with pytest.raises(UserError, match="'source' in its header is no JSON list of text"):
            read_contents(tmp_path / "f.safetensors")


class TestParquetOfOthers:
    @pytest.fixture(autouse=True)
    def needs_pyarrow(self):
        pytest.importorskip("pyarrow", reason="of the extra testbed")

    @staticmethod
    def written(tmp_path: Path, **columns) -> Path:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "f.parquet")
        return tmp_path / "f.parquet"

    def test_lists_and_a_column_of_one_fingerprint(self, tmp_path: Path):
        path = self.written(tmp_path, features=[[1.0, 2.0], [3.0, 4.0]], fingerprint=["ab", "ab"], row=[1, 0])
        found = read_contents(path)
        assert found.arrays["features"].tolist() == [[1, 2], [3, 4]] and found.entries["fingerprint"] == "ab"

    def test_two_fingerprints(self, tmp_path: Path):
        with pytest.raises(UserError, match="column 'fingerprint' says 2 different things"):
            read_contents(self.written(tmp_path, features=[[1.0], [2.0]], fingerprint=["ab", "cd"]))

    def test_lists_of_two_widths(self, tmp_path: Path):
        with pytest.raises(UserError, match="lists of 1, 2 numbers; all have to be of one width"):
            read_contents(self.written(tmp_path, features=[[1.0], [2.0, 3.0]]))

    def test_an_empty_place(self, tmp_path: Path):
        with pytest.raises(UserError, match="column 'features' is empty in 1 of 2 rows"):
            read_contents(self.written(tmp_path, features=[[1.0], None]))

    def test_a_column_of_numbers(self, tmp_path: Path):
        with pytest.raises(UserError, match="column 'features' holds double, not a list"):
            read_contents(self.written(tmp_path, features=[1.0, 2.0]))
