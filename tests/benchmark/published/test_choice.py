from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.choice import Choice
from fewbench.benchmark.published.table import published_numbers
from fewbench.core.errors import UsageError

Table = Callable[..., Path]
ROWS = [
    {},
    {"shots": "5", "kind": "rerun", "accuracy": "60"},
    {"shots": "5", "accuracy": "68.20"},
    {"method": "maml", "dataset": "omniglot", "ways": "20", "backbone": "resnet12"},
]


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"shots": "1"}, [0, 3]),
        ({"ways": "20"}, [3]),
        ({"dataset": "mini-imagenet", "shots": "5"}, [2, 1]),  # the paper's own first
        ({"method": "maml"}, [3]),
        ({"backbone": "conv4"}, [0, 2, 1]),
        ({"kind": "rerun"}, [1]),
        ({"kind": "rerun", "shots": "1"}, []),
    ],
)
def test_every_value_leaves_out_what_has_another(published_table: Table, choice: dict[str, str], rows: list[int]):
    numbers = published_numbers(published_table(*ROWS))
    assert [one.number for one in Choice(**choice).of(numbers)] == [numbers[row] for row in rows]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"method": "protonets"}, r"--method protonets: no published number has it; did you mean 'protonet'\?$"),
        ({"dataset": "miniImageNet"}, r"--dataset miniImageNet: .* did you mean 'mini-imagenet'\?$"),
        ({"kind": "copied"}, r"--kind copied: no published number has it; known: paper, rerun$"),
        ({"shots": "16"}, r"--shots 16: no published number has it; known: 1, 5$"),
    ],
)
def test_a_value_that_no_number_has_is_an_error(published_table: Table, choice: dict[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        Choice(**choice).of(published_numbers(published_table(*ROWS)))


def test_where_nothing_is_found_the_other_values_are_told(published_table: Table):
    numbers = published_numbers(published_table(*ROWS))
    choice = Choice(method="maml", shots="5")
    assert choice.of(numbers) == []
    assert choice.instead(numbers) == "with another shots: 1; with another method: protonet"
    assert Choice(method="maml", shots="5", kind="rerun", backbone="conv4", ways="20").instead(numbers) == ""
