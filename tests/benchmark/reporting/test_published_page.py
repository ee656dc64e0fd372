import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.table import COLUMNS, FILE, published_numbers
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.store import write_record
from fewbench.benchmark.reporting.published_page import best_lines, compared_runs, ours_lines, published_part, spread_lines
from fewbench.benchmark.reporting.quotes import Quote
from fewbench.core.errors import UserError

Table = Callable[..., Path]
QUOTED, RERUN = {"kind": "quoted"}, {"kind": "rerun"}


def cells(lines: list[str]) -> list[list[str]]:
    """The cells of a table without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]


def test_the_best_number_of_each_dataset_training_and_setting_is_shown(published_table: Table):
    rows = [
        {},
        {"method": "feat", "accuracy": "55.15", "half_width": ""},
        {"method": "feat", "accuracy": "71.6", "shots": "5"},
        {"method": "tim", "setting": "transductive", "accuracy": "80", "half_width": ""},
        {"method": "pmf", "pretraining": "imagenet-dino", "accuracy": "93.1", "half_width": ""},
    ]
    lines = best_lines(published_numbers(published_table(*rows)))
    assert cells(lines) == [
        ["mini-imagenet", "train classes", "inductive", "55.15", "feat, conv4, paper", "71.6 ± 0.78", "feat, conv4, paper"],
        ["mini-imagenet", "train classes", "transductive", "80", "tim, conv4, paper", "–", "–"],
        ["mini-imagenet", "external data", "inductive", "93.1", "pmf, conv4, paper", "–", "–"],
    ]
    assert lines[-1] == "The best of 5 numbers; the other 0 are of other tasks, datasets or training data."


def test_of_equal_numbers_the_papers_own_is_shown(published_table: Table):
    (row,) = cells(best_lines(published_numbers(published_table(QUOTED, {}, RERUN))))
    assert row[3:5] == ["49.40 ± 0.78", "protonet, conv4, paper"]


def test_of_equal_quotes_one_with_a_stated_backbone_is_shown(published_table: Table):
    rows = [{**QUOTED, "backbone": backbone} for backbone in ("up-to-36-million-parameters", "not-stated", "wrn-28-10")]
    (row,) = cells(best_lines(published_numbers(published_table(*rows))))
    assert row[4] == "protonet, wrn-28-10, quoted"


@pytest.mark.parametrize(
    "row",
    [
        {"sampler": "imbalanced"},
        {"ways": "20"},
        {"shots": "10"},
        {"dataset": "food101"},
        {"pretraining": "train-and-val-classes"},
        {"pretraining": "not-stated"},
    ],
)
def test_what_does_not_compare_is_left_out(published_table: Table, row: dict[str, str]):
    lines = best_lines(published_numbers(published_table({"accuracy": "40"}, {**row, "accuracy": "90"})))
    assert [found[3] for found in cells(lines)] == ["40 ± 0.78"]
    assert lines[-1].startswith("The best of 1 numbers; the other 1 are")


def test_quotes_and_reruns_are_told_in_three_sentences(published_table: Table):
    rows = [
        {"accuracy": "50.00", "half_width": "0.30"},
        {**QUOTED, "accuracy": "50.0", "half_width": ""},
        {**QUOTED, "accuracy": "49.00", "source": "https://example.org/list"},
        {**RERUN, "accuracy": "49.50", "half_width": "0.40"},  # exactly as far as both intervals
        {**RERUN, "accuracy": "48.00", "half_width": "0.40", "source": "https://example.org/one"},
        {**RERUN, "accuracy": "51.00", "half_width": "0.40", "source": "https://example.org/two"},
    ]
    first, second, third = spread_lines(published_numbers(published_table(*rows)))
    assert first.startswith("2 quotes and 3 reruns stand beside 1 of the papers' own numbers")
    assert second.startswith("1 of the 2 quotes equal the paper's number within 0.05 points; the farthest is -1.00 points away")
    assert "(protonet, conv4, mini-imagenet 5-way 1-shot, in https://example.org/list)" in second
    assert "-0.50 points from the paper in the median, half of them between -2.00 and +1.00; 2 of 3 are below it" in third
    assert "2 of the 3 that can be judged by an interval differ by more than both intervals" in third


def test_a_table_with_few_quotes_says_so(published_table: Table):
    assert spread_lines(published_numbers(published_table({}, QUOTED))) == [
        "There are too few quotes and reruns of numbers whose paper's own is known."
    ]


def test_an_unknown_part_and_a_table_without_numbers_are_errors(published_table: Table, tmp_path: Path):
    with pytest.raises(UserError, match=r"no part 'bset'; did you mean 'best'\?"):
        published_part("bset", published_table({}))
    (tmp_path / FILE).write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape("published.csv: no number in it")):
        published_part("best", tmp_path)


def quote(published_table: Table, record: RunRecord, **row: str) -> Quote:
    (number,) = published_numbers(published_table(row))
    return Quote(number, ours=record)


def test_runs_beside_published_numbers_are_counted_by_verdict(published_table: Table, make_record: Callable[..., RunRecord]):
    record = make_record([0.4, 0.6] * 50)  # 50.00 ± 1.99
    rows = [{"accuracy": "48.1", "half_width": ""}, {"accuracy": "48.0", "half_width": ""}, {"accuracy": "52.5"}]
    lines = ours_lines([quote(published_table, record, **row) for row in rows])
    assert lines[0] == ("3 runs of ours stand beside a published number: 1 lie within both intervals, 1 above and 1 below.")
    found = cells(lines[2:])
    assert [row[4] for row in found] == ["48.1 (paper)", "48.0 (paper)", "52.5 ± 0.78 (paper)"]
    assert [row[6:] for row in found] == [["+1.90", "within"], ["+2.00", "above"], ["-2.50", "below"]]


def test_an_unusual_number_of_queries_is_told(published_table: Table, make_record: Callable[..., RunRecord]):
    records = [make_record([0.4, 0.6] * 50, task={"queries": queries}) for queries in (15, 1)]
    found = cells(ours_lines([quote(published_table, record) for record in records])[2:])
    assert [row[1] for row in found] == ["5-way 1-shot", "5-way 1-shot, 1 query a class"]


def test_without_runs_beside_published_numbers_a_sentence_says_so(tmp_path: Path):
    (tmp_path / "records").mkdir()
    assert compared_runs(tmp_path) == []
    assert ours_lines([]) == ["No run of ours stands beside a published number yet."]


def test_runs_of_a_results_folder_stand_beside_published_numbers(published_table: Table, trained: Callable[..., RunRecord]):
    results = published_table({"dataset": "omniglot"})
    record = trained([0.4, 0.6] * 50)
    write_record(record, results / "records" / "one.json")
    (found,) = compared_runs(results)
    assert found.ours is not None and found.ours.config_sha256 == record.config_sha256
    assert found.number.printed == "49.40 ± 0.78"
