import json

import pytest

from fewbench.benchmark.training.loop.curves import Curves


@pytest.fixture(autouse=True)
def undrawn_curves() -> None:
    """Here they are drawn."""


@pytest.fixture
def curves() -> Curves:
    """Rows after steps 2 and 3, the second one validated, and a step after them."""
    curves = Curves()
    curves.add({"loss": 2.0, "accuracy": 0.25})
    curves.add({"loss": 1.0, "accuracy": 0.5})
    curves.close_row(2, 0.1, 1.5)
    curves.add({"loss": 0.1, "accuracy": 1.0})
    curves.close_row(3, 0.05, 2.5)
    curves.validated(0.75)
    curves.add({"loss": 0.3, "accuracy": 0.0})
    return curves


def test_a_row_is_the_mean_over_the_steps_since_the_row_before(curves: Curves):
    assert curves.rows == [
        {"step": 2, "loss": 1.5, "accuracy": 0.375, "learning_rate": 0.1, "seconds": 1.5, "validation": None},
        {"step": 3, "loss": 0.1, "accuracy": 1.0, "learning_rate": 0.05, "seconds": 2.5, "validation": 0.75},
    ]
    assert curves.validations() == [(3, 0.75)]


def test_the_csv_has_a_line_a_row_and_an_empty_cell_without_a_validation(curves: Curves):
    assert curves.csv().decode().splitlines() == [
        "step,loss,accuracy,learning_rate,seconds,validation",
        "2,1.5,0.375,0.1,1.5,",
        "3,0.1,1.0,0.05,2.5,0.75",
    ]


def test_json_keeps_every_bit_and_the_steps_that_have_no_row_yet(curves: Curves):
    again = Curves.from_json(json.loads(json.dumps(curves.to_json())))
    assert again == curves
    for both in (again, curves):
        both.add({"loss": 1 / 3, "accuracy": 0.0})
        both.close_row(5, 0.0, 3.0)
    assert again.rows[-1] == curves.rows[-1]
    assert again.rows[-1]["loss"] == (0.3 + 1 / 3) / 2


def test_nothing_measured_is_a_header_and_an_empty_picture():
    assert Curves().csv() == b"step,loss,learning_rate,seconds,validation\n"
    assert Curves().png().startswith(b"\x89PNG")


def test_the_picture_is_the_same_for_the_same_curves_and_another_for_others(curves: Curves):
    before = curves.png()
    assert before == curves.png()
    curves.validated(0.5)
    assert curves.png() != before
