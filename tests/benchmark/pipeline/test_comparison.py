import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.pipeline.comparison import Comparison, compare
from fewbench.benchmark.pipeline.recipe import Evaluation, load


@dataclass(frozen=True)
class Measured:
    """As much of a record as a comparison needs."""

    mean: float
    half_width: float | None


def compared(published: float | None, interval: float | None, mean: float, half_width: float | None = 0.003) -> Comparison:
    record: Any = Measured(mean, half_width)
    recipe: Any = None
    return Comparison(recipe, Evaluation(5, 1, published=published, interval=interval), {}, record)


@pytest.mark.parametrize(
    ("published", "interval", "mean", "verdict"),
    [
        (98.8, None, 0.985, "within"),  # 0.3 points below, and ours alone is ± 0.3
        (98.8, None, 0.9849, "outside"),
        (98.8, 0.4, 0.9831, "within"),  # the root of 0.3² + 0.4² is 0.5
        (98.8, 0.4, 0.9829, "outside"),
        (98.8, 0.4, 0.9929, "within"),
        (98.8, 0.4, 0.9931, "above"),
        (None, None, 0.98, None),
    ],
)
def test_verdicts(published: float | None, interval: float | None, mean: float, verdict: str | None):
    assert compared(published, interval, mean + 1e-9 if verdict == "within" and interval is None else mean).verdict == verdict


def test_the_difference_is_in_points_and_the_intervals_add_as_squares():
    one = compared(98.8, 0.4, 0.98)
    assert one.difference == pytest.approx(-0.8) and one.combined == pytest.approx(math.hypot(0.3, 0.4))
    assert compared(98.8, None, 0.98).combined == pytest.approx(0.3)


def test_one_episode_has_no_interval_and_no_verdict():
    one = compared(98.8, 0.4, 1.0, None)
    assert (one.combined, one.verdict) == (None, None) and one.difference == pytest.approx(1.2)


def test_without_a_checkpoint_nothing_was_run(recipes: Path, tmp_path: Path):
    recipe = load("quick")
    found = compare(recipe, tmp_path)
    assert [one.evaluation for one in found] == list(recipe.evaluations)
    assert all(one.about is None and one.record is None and one.verdict is None for one in found)
    path = recipe.checkpoint(tmp_path).with_suffix(".json")
    path.parent.mkdir()
    path.write_text("{", encoding="utf-8")
    assert compare(replace(recipe), tmp_path) == found
