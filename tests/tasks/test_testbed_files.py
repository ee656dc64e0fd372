import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks import testbed as testbeds
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.testbed_files import read_testbed, write_testbed

OFFSETS = np.arange(9) * 30
DISTANCES = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))) / 3


def make(offsets: np.ndarray | None = OFFSETS) -> testbeds.Testbed:
    return testbeds.make_testbed(
        offsets,
        DISTANCES,
        ways=3,
        shots=2,
        queries=4,
        tasks=20,
        alpha=0.3,
        beta=10,
        seed=1,
        dataset="birds",
        split="test",
        fingerprint="abc",
    )


def same(one: EpisodeBatch, other: EpisodeBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


@pytest.mark.parametrize("offsets", [OFFSETS, None])
def test_csv_returns_the_same_tasks(tmp_path: Path, offsets: np.ndarray | None):
    path = tmp_path / "testbed.csv"
    testbed = make(offsets)
    write_testbed(path, testbed)
    back = read_testbed(path)
    assert same(back.episodes, testbed.episodes)
    assert (back.coarsity == testbed.coarsity).all()
    assert back.sha256 == testbed.sha256
    assert (back.dataset, back.seed, back.parameters) == (None, None, {})


@pytest.mark.parametrize("offsets", [OFFSETS, None])
def test_parquet_returns_the_same_testbed(tmp_path: Path, offsets: np.ndarray | None):
    pytest.importorskip("pyarrow")
    path = tmp_path / "testbed.parquet"
    testbed = make(offsets)
    write_testbed(path, testbed)
    back = read_testbed(path)
    assert same(back.episodes, testbed.episodes)
    assert (back.coarsity == testbed.coarsity).all()
    for name in ("dataset", "split", "fingerprint", "seed", "parameters", "sha256"):
        assert getattr(back, name) == getattr(testbed, name)


def test_changed_parquet_is_noticed(tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "testbed.parquet"
    write_testbed(path, make())
    table = parquet.read_table(path)
    frame = table.to_pandas()
    frame.loc[7, "image_id"] += 1 if frame.loc[7, "image_id"] % 30 < 29 else -1
    frame.loc[7, "support"] = not frame.loc[7, "support"]
    changed = arrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(changed, path)
    with pytest.raises(UserError, match="was changed after it was made"):
        read_testbed(path)


def test_parquet_of_others_is_refused(tmp_path: Path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "other.parquet"
    pd.DataFrame({"task": [0]}).to_parquet(path)
    with pytest.raises(UserError, match=r"no testbed \(it was not written by fewbench\)"):
        read_testbed(path)
    path.write_bytes(b"not parquet at all")
    with pytest.raises(UserError, match="no testbed"):
        read_testbed(path)


@pytest.mark.parametrize("use", [lambda path: write_testbed(path, make()), read_testbed])
def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Any):
    path = tmp_path / "testbed.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install pyarrow"):
        use(path)


def test_csv_has_the_published_layout(tmp_path: Path):
    path = tmp_path / "testbed.csv"
    testbed = make()
    write_testbed(path, testbed)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",task,variance,labels,image_id,support"
    assert len(lines) == 1 + 20 * 3 * 6
    smallest = testbed.episodes.classes[0, 0]
    assert lines[1] == f"0,0,{testbed.coarsity[0]},{smallest},{testbed.episodes.query[0, 0]},False"
    assert lines[6] == f"5,0,{testbed.coarsity[0]},{smallest},{testbed.episodes.support[0, 3]},True"


def test_published_files_can_be_read_in_any_row_order_and_without_queries(tmp_path: Path):
    path = tmp_path / "published.csv"
    path.write_text(
        ",task,variance,labels,image_id,support\n"
        "0,0,25.9,12,7614,True\n1,0,25.9,1,1088,True\n2,0,25.9,8,5166,True\n"
        "0,1,27.1,6,3697,True\n1,1,27.1,16,9856,True\n2,1,27.1,4,2945,True\n",
        encoding="utf-8",
    )
    testbed = read_testbed(path)
    assert testbed.episodes.classes.tolist() == [[1, 8, 12], [4, 6, 16]]
    assert testbed.episodes.support.tolist() == [[1088, 5166, 7614], [2945, 3697, 9856]]
    assert testbed.episodes.query.shape == (2, 0)
    assert testbed.coarsity.tolist() == [25.9, 27.1]
    assert testbed.shape == (3, 1, 0)
    testbed.check_fits(np.arange(21) * 600)


def test_tasks_of_unequal_shape_are_padded(tmp_path: Path):
    path = tmp_path / "unequal.csv"
    path.write_text(
        "task,variance,labels,image_id,support\n"
        "3,1.5,2,20,True\n3,1.5,2,21,True\n3,1.5,0,5,True\n3,1.5,0,6,False\n"
        "9,2.5,1,10,True\n9,2.5,2,22,True\n9,2.5,4,40,True\n9,2.5,4,41,False\n9,2.5,1,11,False\n",
        encoding="utf-8",
    )
    batch = read_testbed(path).episodes
    assert batch.classes.tolist() == [[0, 2, -1], [1, 2, 4]]
    assert batch.support.tolist() == [[5, 20, 21], [10, 22, 40]]
    assert batch.support_labels.tolist() == [[0, 1, 1], [0, 1, 2]]
    assert batch.query.tolist() == [[6, 0], [11, 41]]
    assert batch.query_labels.tolist() == [[0, -1], [0, 2]]
    written = tmp_path / "again.csv"
    write_testbed(written, read_testbed(path))
    assert same(read_testbed(written).episodes, batch)


HEADER = "task,variance,labels,image_id,support\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no testbed"),
        (HEADER, "has no tasks"),
        ("task,labels,image_id,support\n0,1,1,True\n", "no column 'variance'"),
        ("task,variance,labels,image_id\n0,1,1,1\n", "no column 'support'"),
        ("a,b\n1,2\n", "no column 'task'"),
        (HEADER + "0,1.0,cat,1,True\n", "task 0 has 'cat' for 'labels', which is not a whole number"),
        (HEADER + "0,1.0,1,1.5,True\n", "task 0 has '1.5' for 'image_id', which is not a whole number"),
        (HEADER + "0,1.0,1,-1,True\n", "task 0 has '-1' for 'image_id', which is not a whole number"),
        (HEADER + "0,,1,1,True\n", "task 0 has 'nan' for 'variance', which is not a number"),
        (HEADER + "0,1.0,1,1,maybe\n", "task 0 has 'maybe' for 'support', which is not True or False"),
        (HEADER + "0,1.0,1,1,True\n0,1.0,1,1,False\n", "task 0 names the same image twice"),
        ("task,variance,labels\n0,1.0,4\n0,1.0,4\n", "task 0 names the same class twice"),
        (HEADER + "x,1.0,4,4,True\n", "a task has 'x' for 'task', which is not a whole number"),
        (HEADER + "0,1.0,1,1,True,extra\n0,1.0\n,,,,,,,,\n", "no testbed"),
    ],
)
def test_other_csv_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "testbed.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_testbed(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_absent_or_binary_file_and_other_suffix_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        read_testbed(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="no testbed"):
        read_testbed(tmp_path / "image.csv")
    with pytest.raises(UsageError, match=r"ending in .parquet or .csv"):
        write_testbed(tmp_path / "testbed.json", make())
    with pytest.raises(UsageError, match=r"ending in .parquet or .csv"):
        read_testbed(tmp_path / "testbed")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("4,1e308,1,1,True\n", r"task 4 has '1e\+308' for 'variance', which is not a number from 0 to 3e38"),
        (
            "4,1.0,1,18446744073709551615,True\n",
            "task 4 has '18446744073709551615' for 'image_id', which is not a whole",
        ),
        ("4,1.0,4294967296,1,True\n", "task 4 has '4294967296' for 'labels', which is not a whole number from 0 to 2147483647"),
    ],
)
def test_numbers_that_a_record_or_a_hash_cannot_keep_are_refused(tmp_path: Path, line: str, named: str):
    path = tmp_path / "large.csv"
    path.write_text(HEADER + "0,1.0,1,1,True\n" + line + "4,1.0,2,2,False\n", encoding="utf-8")
    with pytest.raises(UserError, match=named):
        read_testbed(path)


def test_one_long_task_among_many_short_ones_is_refused_before_it_is_padded(tmp_path: Path):
    path, short, long = tmp_path / "long.csv", 20_000, 2_000
    rows = [f"{task},1.0,{label},{label},{label < 2}\n" for task in range(short) for label in range(2)]
    rows += [f"{short},1.0,0,{image},True\n" for image in range(long)]
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    with pytest.raises(UserError, match=rf"task {short} has {long} rows and most others have few; .* of its own$"):
        read_testbed(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("9,1.0,1,5,True\n9,1.0,2,6,True\n", "task 9 has no query"),
        ("9,1.0,1,5,True\n9,1.0,1,6,False\n", "task 9 has fewer than two classes"),
        ("9,1.0,1,5,True\n9,1.0,2,6,False\n", "task 9 has queries of class 2 and no support of it"),
    ],
)
def test_a_task_that_is_none_is_named_by_its_number_in_the_file(tmp_path: Path, rows: str, message: str):
    path = tmp_path / "testbed.csv"
    path.write_text(HEADER + "7,1.0,1,1,True\n7,1.0,2,2,True\n7,1.0,1,3,False\n" + rows, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_testbed(path)
    assert str(path) in str(error.value)
