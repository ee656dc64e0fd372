import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.table import published_numbers
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.reporting.figures.published_ours import draw_ours
from fewbench.benchmark.reporting.quotes import Quote
from fewbench.core.errors import UserError


@pytest.fixture
def quotes(published_table: Callable[..., Path], make_record: Callable[..., RunRecord]) -> list[Quote]:
    """Runs of two methods on two datasets, each beside a published number."""
    rows = [{}, {"method": "maml"}, {"method": "maml", "dataset": "cifar-fs", "half_width": ""}]
    return [Quote(number, ours=make_record([0.4, 0.6] * 50)) for number in published_numbers(published_table(*rows))]


def texts(svg: bytes) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg.decode())


def test_every_dataset_has_a_panel_and_every_method_stands_once_in_the_legend(quotes: list[Quote]):
    shown = texts(draw_ours(quotes))
    assert [text for text in shown if text in ("mini-imagenet", "cifar-fs")] == ["mini-imagenet", "cifar-fs"]
    assert sorted(text for text in shown if text in ("maml", "protonet")) == ["maml", "protonet"]
    assert shown.count("published accuracy (%)") == 2


def test_the_same_runs_give_the_same_bytes(quotes: list[Quote]):
    assert draw_ours(quotes) == draw_ours(quotes)


def test_without_runs_there_is_no_figure():
    with pytest.raises(UserError, match=r"no run of ours stands beside a published number$"):
        draw_ours([])
