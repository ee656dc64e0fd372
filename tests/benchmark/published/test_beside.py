from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.beside import beside_own, published_beside
from fewbench.benchmark.published.table import published_numbers

Table = Callable[..., Path]
QUOTED, RERUN = {"kind": "quoted"}, {"kind": "rerun"}


def test_the_papers_own_number_comes_first_then_quotes_then_reruns_each_best_first(published_table: Table):
    rows = [
        {**RERUN, "accuracy": "60"},
        {**QUOTED, "accuracy": "40"},
        {**QUOTED, "accuracy": "50", "method": "maml"},
        {},
        {**RERUN, "accuracy": "61", "source": "https://example.org"},
    ]
    found = published_beside(published_numbers(published_table(*rows)), "mini-imagenet", 5, 1)
    assert [one.number.accuracy for one in found] == [49.4, 50, 40, 61, 60]


@pytest.mark.parametrize(
    "row",
    [
        {"dataset": "cifar-fs"},
        {"ways": "20"},
        {"shots": "5"},
        {"sampler": "imbalanced"},
        {"method": "maml"},
        {"backbone": "resnet12"},
    ],
)
def test_another_task_method_or_backbone_is_left_out(published_table: Table, row: dict[str, str]):
    numbers = published_numbers(published_table({}, row))
    assert [one.number for one in published_beside(numbers, "mini-imagenet", 5, 1, "protonet", "conv4")] == numbers[:1]


def test_varying_ways_and_shots_are_asked_for_as_records_have_them(published_table: Table):
    varying = {"sampler": "meta-dataset", "ways": "varying", "shots": "varying"}
    numbers = published_numbers(published_table({}, varying))
    assert [one.number for one in published_beside(numbers, "mini-imagenet", None, None, sampler="meta-dataset")] == numbers[1:]


@pytest.mark.parametrize(
    ("own", "other", "apart"),
    [
        ("0.30", "0.40", False),  # the root of 0.3² + 0.4² is 0.5, and so is the difference
        ("0.30", "0.39", True),
        ("", "0.51", False),
        ("0.49", "", True),
        ("", "", False),  # nobody can tell
    ],
)
def test_a_rerun_is_apart_when_it_differs_by_more_than_both_intervals(
    published_table: Table, own: str, other: str, apart: bool
):
    rows = [{"accuracy": "49.00", "half_width": own}, {**RERUN, "accuracy": "48.50", "half_width": other}]
    _, rerun = beside_own(published_numbers(published_table(*rows)))
    assert rerun.difference == pytest.approx(-0.5)
    assert rerun.apart == apart


def test_the_nearest_of_the_papers_own_numbers_counts(published_table: Table):
    rows = [{"accuracy": "49"}, {"accuracy": "52", "protocol": "larger images"}, {**RERUN, "accuracy": "51"}]
    first, second, rerun = beside_own(published_numbers(published_table(*rows)))
    assert rerun.own == second.number
    assert first.own is None and second.own is None


@pytest.mark.parametrize("row", [{"setting": "transductive"}, {"pretraining": "clip"}, {"backbone": "resnet12"}])
def test_another_experiment_has_another_number_of_its_own(published_table: Table, row: dict[str, str]):
    _, rerun = beside_own(published_numbers(published_table({}, {**RERUN, **row})))
    assert rerun.own is None and rerun.difference is None and not rerun.apart


@pytest.mark.parametrize("backbone", ["not-stated", "up-to-12-million-parameters"])
def test_a_backbone_that_is_not_stated_is_compared_with_none(published_table: Table, backbone: str):
    unknown = {"backbone": backbone}
    _, rerun = beside_own(published_numbers(published_table(unknown, {**RERUN, **unknown})))
    assert rerun.own is None
