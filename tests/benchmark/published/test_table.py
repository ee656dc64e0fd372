import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.pipeline.reproduction import all_reproductions
from fewbench.benchmark.published.number import Task
from fewbench.benchmark.published.table import COLUMNS, FILE, published_numbers, read_published
from fewbench.core.errors import UserError

RESULTS = Path(__file__).parents[3] / "results"
Table = Callable[..., Path]


def test_the_committed_table_is_read_whole():
    numbers = published_numbers(RESULTS)
    assert len(numbers) >= 3000
    assert {number.kind for number in numbers} == {"paper", "quoted", "rerun"}
    assert (RESULTS / FILE).stat().st_size < 2_000_000


def test_a_row_becomes_a_number(published_table: Table):
    (number,) = published_numbers(published_table({}))
    assert number.task == Task("mini-imagenet", "uniform", 5, 1)
    assert (number.accuracy, number.half_width, number.queries) == (49.4, 0.78, 15)
    assert number.printed == "49.40 ± 0.78"  # with the decimals of its source
    assert not number.external


def test_what_a_source_does_not_say_is_none(published_table: Table):
    (number,) = published_numbers(published_table({"queries": "", "half_width": "", "pretraining": "clip"}))
    assert (number.queries, number.half_width, number.printed) == (None, None, "49.40")
    assert number.external


def test_words_stand_in_the_place_of_ways_and_shots(published_table: Table):
    varying = {"sampler": "meta-dataset", "ways": "varying", "shots": "varying"}
    one, other = published_numbers(published_table(varying, {"sampler": "whole-test-set", "ways": "all", "shots": "16"}))
    assert (one.task.ways, one.task.shots, other.task.ways, other.task.shots) == ("varying", "varying", "all", 16)


def test_a_folder_without_a_table_has_the_numbers_of_the_package(tmp_path: Path):
    assert published_numbers(tmp_path) == published_numbers(RESULTS)
    (tmp_path / FILE).write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    assert published_numbers(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"method": "matchingnet"}, "method 'matchingnet' is called 'matching-net' here"),
        ({"dataset": "miniimagenet"}, "dataset 'miniimagenet' is called 'mini-imagenet' here"),
        ({"backbone": "resnet-12"}, "backbone 'resnet-12' is called 'resnet12' here"),
        ({"method": "FRN"}, "method 'FRN' has more than small letters, digits, dashes and plus signs"),
        ({"pretraining": ""}, "pretraining '' has more than small letters, digits, dashes and plus signs"),
        ({"accuracy": "0"}, "accuracy '0' is not a number of percent between 0 and 100"),
        ({"accuracy": "100.1"}, "accuracy '100.1' is not a number of percent between 0 and 100"),
        ({"accuracy": "nan"}, "accuracy 'nan' is not a number of percent between 0 and 100"),
        ({"accuracy": ""}, "accuracy '' is not a number of percent between 0 and 100"),
        ({"half_width": "-0.2"}, "half_width '-0.2' is not a number of percent between 0 and 100"),
        ({"ways": "five"}, "ways 'five' is not a whole number of at least 2"),
        ({"ways": "1"}, "ways '1' is not a whole number of at least 2"),
        ({"ways": "all"}, "ways all do not go with sampler uniform"),
        ({"sampler": "meta-dataset"}, "ways 5 do not go with sampler meta-dataset"),
        ({"sampler": "unifrom"}, "unknown sampler 'unifrom'; did you mean 'uniform'?"),
        ({"queries": "0"}, "queries '0' is not a whole number of at least 1"),
        ({"kind": "quote"}, "unknown kind 'quote'; did you mean 'quoted'?"),
        ({"setting": "unknown"}, "unknown setting 'unknown'; known: inductive, semi-supervised, transductive, zero-shot"),
        ({"setting": "zero-shot"}, "setting zero-shot does not go with 1 shots"),
        ({"source": "a blog"}, "source 'a blog' is neither an address nor owner/repository@commit:path"),
    ],
)
def test_a_row_that_is_not_right_is_an_error_with_its_line(published_table: Table, row: dict[str, str], problem: str):
    path = published_table({}, row) / FILE
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}, line 3: {problem}')}$"):
        read_published(path)


def test_two_rows_of_the_same_number_are_an_error(published_table: Table):
    path = published_table({}, {"kind": "rerun"}, {"accuracy": "50.0"}) / FILE
    with pytest.raises(UserError, match=r"published\.csv, line 4: the same row as line 2; take one of them out$"):
        read_published(path)


def test_other_columns_are_an_error(tmp_path: Path):
    path = tmp_path / FILE
    path.write_text("method,accuracy\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1: the columns are not method, backbone, "):
        read_published(path)


def test_a_row_with_too_few_values_is_an_error(tmp_path: Path):
    path = tmp_path / FILE
    path.write_text(f"{','.join(COLUMNS)}\nprotonet,conv4\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: 2 values for 20 columns$"):
        read_published(path)


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        published_numbers(tmp_path)


def test_what_reproductions_compare_with_stands_in_the_table():
    known = {
        (n.method, n.task.dataset, n.task.ways, n.task.shots, n.accuracy, n.half_width) for n in published_numbers(RESULTS)
    }
    for pipeline in all_reproductions():
        for run in pipeline.runs:
            config, target = run.config, run.target
            row = (config.method, config.dataset, config.ways, config.shots, target.published, target.interval)
            assert target.published is None or row in known, pipeline.name
