import os
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.features import rows as mapped_rows
from fewbench.benchmark.features.rows import RowFile, chunks
from fewbench.core.errors import UserError

needs_reads = pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system lacks reads at a place")


@pytest.fixture
def table(tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(100, 7)).astype(np.float16))
    return np.load(tmp_path / "table.npy", mmap_mode="r")


@needs_reads
def test_rows_are_those_of_the_array(table: np.ndarray):
    rows = np.array([99, 0, 5, 5, 98], dtype=np.int32)
    file = RowFile.of(table)
    assert file is not None
    found = file.read(rows)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, table[rows])
    assert file.read(np.empty(0, np.int64)).shape == (0, 7)


def test_an_array_in_memory_has_no_file(table: np.ndarray):
    assert RowFile.of(np.array(table)) is None


@needs_reads
def test_the_file_is_closed_with_its_reader(table: np.ndarray):
    file = RowFile.of(table)
    assert file is not None
    handle = file.handle
    os.fstat(handle)
    del file
    with pytest.raises(OSError):
        os.fstat(handle)


@needs_reads
def test_a_file_that_was_cut_is_told_in_one_line(table: np.ndarray, tmp_path: Path):
    file = RowFile.of(table)
    assert file is not None
    os.truncate(tmp_path / "table.npy", 500)
    with pytest.raises(UserError, match=r"table\.npy: the file was cut"):
        file.read(np.array([99]))


def test_chunks_cover_the_table_in_order(table: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mapped_rows, "CHUNK", 30)
    parts = [(start, np.array(rows)) for start, rows in chunks(table)]
    assert [start for start, _ in parts] == [0, 30, 60, 90]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in parts]), table)
