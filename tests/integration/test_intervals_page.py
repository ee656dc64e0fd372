"""docs/intervals.md says what its simulation finds; a small version of it runs here."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fewbench.benchmark.records.store import load_records
from fewbench.benchmark.records.trainings import trainings_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The module that writes the page, with fewer runs."""
    spec = importlib.util.spec_from_file_location("make_intervals", ROOT / "docs" / "make_intervals.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.__dict__.update(TEST_SETS=4, RUNS=400, NEW_SETS=400, NEW_SETS_RUN=60)
    return module


def test_both_intervals_cover_what_they_claim(made: ModuleType):
    setting = made.Setting(episodes=100)
    t, bootstrap = made.on_this_test_set(setting)
    apart, _, episodes = made.on_new_images(setting)
    assert len(t) == len(bootstrap) == len(apart) == 400 and episodes == 24
    for found in (t, bootstrap):
        assert 0.91 < np.mean(found) < 0.985  # 0.95 ± 3.5 deviations of 400 draws
    assert np.mean(apart) > 0.92


def test_the_first_interval_does_not_answer_the_second_question(made: ModuleType):
    _, whole, _ = made.on_new_images(made.Setting(images=40))
    assert np.mean(whole) < 0.75


def test_the_page_is_of_this_code(made: ModuleType):
    page = (ROOT / "docs" / "intervals.md").read_text(encoding="utf-8")
    head = made.HEAD.format(classes=made.CLASSES, width=made.WIDTH, queries=made.QUERIES)
    assert page.startswith(head)
    rows = [line for line in page.splitlines() if "-shot |" in line]
    shapes = [f"| {one.images} | {one.ways}-way {one.shots}-shot | {one.episodes:,} |" for one in made.SETTINGS]
    assert [row[: len(shape)] for row, shape in zip(rows, shapes, strict=True)] == shapes


def test_the_interval_over_trainings_is_that_of_the_records():
    records = [record for _, record in load_records(ROOT / "results" / "studies" / "seeds")[0]]
    (found,) = trainings_of(records)
    assert found.seeds == (0, 1, 2, 3, 4)
    over, single = found.interval.half_width or 0.0, max(record.half_width or 1.0 for record in records)
    interval = f"{100 * found.interval.mean:.2f} ± {100 * over:.2f}"
    page = " ".join((ROOT / "docs" / "intervals.md").read_text(encoding="utf-8").split())
    assert f"from {100 * found.lowest:.2f} to {100 * found.highest:.2f} %" in page
    assert f"at most ± {100 * single:.2f} points; over trainings it is {interval}." in page
    assert round(over / single) == 9 and "nine times as much" in page
    assert f"{interval} %" in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
