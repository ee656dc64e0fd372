import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.table import published_numbers
from fewbench.benchmark.reporting.figures.published_spread import MOST, draw_spread
from fewbench.core.errors import UserError

Table = Callable[..., Path]
RERUN = {"kind": "rerun"}


def texts(svg: bytes) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg.decode())


def test_every_method_has_a_row_with_its_numbers_of_quotes_and_reruns(published_table: Table):
    rows = [
        {},
        {"kind": "quoted"},
        {**RERUN, "accuracy": "45"},
        {"method": "maml", "accuracy": "48"},
        {**RERUN, "method": "maml", "accuracy": "49"},
    ]
    shown = texts(draw_spread(published_numbers(published_table(*rows))))
    assert "protonet (1 quoted, 1 rerun)" in shown and "maml (0 quoted, 1 rerun)" in shown
    assert {"-2", "-1", "0", "+1"} <= set(shown)  # ticks as far as the differences go


def test_methods_beyond_the_most_share_a_row(published_table: Table):
    rows = [{**kind, "method": f"method-{number}"} for number in range(MOST + 2) for kind in ({}, RERUN)]
    shown = [text for text in texts(draw_spread(published_numbers(published_table(*rows)))) if "rerun)" in text]
    assert len(shown) == MOST + 1
    assert shown[-1] == "other methods (0 quoted, 2 rerun)"


def test_the_same_numbers_give_the_same_bytes(published_table: Table):
    numbers = published_numbers(published_table({}, {**RERUN, "accuracy": "45"}))
    assert draw_spread(numbers) == draw_spread(numbers)


def test_a_table_without_quotes_and_reruns_is_an_error(published_table: Table):
    with pytest.raises(UserError, match="no published number is a quote or rerun"):
        draw_spread(published_numbers(published_table({})))
