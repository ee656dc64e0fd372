import re
import xml.etree.ElementTree as ElementTree

import pytest

from fewbench.benchmark.reporting.figures.conditions import draw_conditions
from fewbench.core.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
NOISE = {"label_noise": 0.2, "noise_kind": "symmetric"}


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture
def record(make_record):
    def make(accuracy, conditions=None, name="protonet", method=None, **task):
        return make_record([accuracy] * 4, name=name, task={"conditions": conditions, **task}, method=method or {})

    return make


def test_a_panel_for_each_shot_and_a_line_for_each_method(record):
    records = [
        record(0.5 + 0.1 * shots / 5, balance and {"query_balance": balance}, name, shots=shots)
        for shots in (1, 5)
        for name in ("protonet", "pt-map")
        for balance in (None, 2.0, 0.5)
    ]
    found = texts(draw_conditions(records))
    assert [text for text in found if "-shot" in text] == ["omniglot, conv4, 1-shot", "omniglot, conv4, 5-shot"]
    assert [text for text in found if text in ("0.5", "2", "balanced")] == ["0.5", "2", "balanced"] * 2
    assert sum(text == "pt-map" for text in found) == 1  # in the legend


def test_inductive_lines_are_dashed(record):
    records = [
        record(0.5 + balance / 10, {"query_balance": balance}, name, {"transductive": name == "pt-map"})
        for name in ("protonet", "pt-map")
        for balance in (0.5, 2.0)
    ]
    assert len(re.findall("stroke-dasharray", draw_conditions(records).decode())) == 2  # the line, and that of the legend


def test_noise_begins_with_clean_labels(record):
    found = texts(draw_conditions([record(0.5, NOISE), record(0.7)]))
    assert [text for text in found if text in ("0", "0.2")] == ["0", "0.2"]


def test_of_several_runs_the_longest_is_drawn(make_record):
    conditions = {"conditions": {"query_balance": 2.0}}
    longer = make_record([0.5] * 9, task=conditions)
    assert draw_conditions([make_record([0.9] * 4, task=conditions), longer]) == draw_conditions([longer])


def test_what_cannot_be_drawn_together_is_an_error(record):
    with pytest.raises(UsageError, match="records of one condition"):
        draw_conditions([record(0.5)])
    with pytest.raises(UsageError, match="records of one condition"):
        draw_conditions([record(0.5, NOISE), record(0.5, {"query_balance": 2.0})])
    with pytest.raises(UsageError, match="differing in seed"):
        draw_conditions([record(0.5, NOISE), record(0.5, NOISE, "ridge", seed=1)])
    with pytest.raises(UsageError, match="shots of a record vary"):
        draw_conditions([record(0.5, NOISE, shots=None)])


def test_against_a_budget_a_line_is_a_rule_and_each_method_has_a_panel(record):
    records = [
        record(0.5 + budget / 100, (budget and {"unlabelled": 9, "acquire": rule, "budget": budget}) or None, name)
        for name in ("protonet", "ridge")
        for rule in ("margin", "random")
        for budget in (0, 5, 10)
    ]
    found = texts(draw_conditions(records))
    assert [text for text in found if "-shot" in text] == [
        "omniglot, conv4, 1-shot, protonet",
        "omniglot, conv4, 1-shot, ridge",
    ]
    assert [text for text in found if text in ("0", "5", "10")] == ["0", "5", "10"] * 2
    assert [text for text in found if text in ("margin", "random")] == ["margin", "random"]  # in the legend
