import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig, run
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.evaluation.keeping import write_predictions
from fewbench.benchmark.records.predictions import load_predictions
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.statistics import jackknife_half_width, t_interval
from fewbench.benchmark.records.store import load_record, write_record
from fewbench.benchmark.reporting.differences import differences_part
from fewbench.benchmark.reporting.report.prediction_difference import churn, differences_of, relative_difference
from fewbench.core.errors import UserError


def test_the_relative_difference_is_the_mean_distance_from_the_mean_as_a_share_of_it():
    assert relative_difference(np.array([[0.2, 0.5], [0.4, 0.5]])) == pytest.approx((0.1 / 0.3 + 0) / 2)
    assert relative_difference(np.array([[0.1], [0.2], [0.6]])) == pytest.approx((0.2 + 0.1 + 0.3) / 3 / 0.3)
    assert relative_difference(np.array([[0.0, 1.0], [0.0, 1.0]])) == 0


def test_churn_is_the_share_of_other_answers_over_pairs():
    assert churn(np.array([[0, 1, 2, 3], [0, 1, 2, 0]])) == 0.25
    assert churn(np.array([[0, 1], [0, 2], [1, 2]])) == pytest.approx((0.5 + 1 + 0.5) / 3)


def test_the_interval_of_a_mean_by_leaving_out_is_its_t_interval():
    values = np.array([0.3, 0.5, 0.1, 0.4])
    left_out = [np.delete(values, place).mean() for place in range(4)]
    assert jackknife_half_width(left_out) == pytest.approx(t_interval(values).half_width)


@pytest.fixture
def trainings(tiny: str, tiny_weights: Path, tmp_path: Path, altered: Callable[..., RunRecord]) -> list[Path]:
    """Records of two seeds of a training, whose answers are those of protonet and of ridge; and their answers."""
    paths = []
    for seed, method in enumerate(("protonet", "ridge")):
        config = RunConfig(
            method=method, dataset=tiny, weights=str(tiny_weights), queries=5, episodes=40, device="cpu",
            results=tmp_path / method, keep_predictions=True,
        )  # fmt: skip
        found = run(config)
        path = next((tmp_path / method).rglob("*.json"))
        answers = load_predictions(path, found)
        seen = {**found.content["backbone"]["pretraining"], "seed": seed, "options_sha256": "a"}
        section = {"pretraining": seen, "weights_sha256": f"{seed}" * 64}
        named = {"name": "protonet", "parameters": {}}
        path = tmp_path / f"{seed}.json"
        record = altered(found, backbone=section, method=named, predictions=write_predictions(answers, path, False))
        write_record(record, path)
        paths.append(path)
    return paths


def test_the_difference_of_two_records_is_that_of_their_answers(trainings: list[Path]):
    loaded = [(path, load_record(path)) for path in trainings]
    (found,) = differences_of(loaded)
    first, second = (load_predictions(*one) for one in loaded)
    assert found.churn.value == np.mean(first.predicted != second.predicted) > 0
    assert found.accuracy == (found.trainings.interval.mean, found.trainings.interval.half_width)
    assert found.confidence == pytest.approx((first.confidence.mean() + second.confidence.mean()) / 2)
    assert found.relative.half_width is None and found.churn.half_width is None  # two trainings do not say
    assert found.trainings.seeds == (0, 1)
    assert first.own is not None and second.own is not None
    expected = np.abs(first.own.astype(float) - second.own) / (first.own.astype(float) + second.own)
    assert found.relative.value == pytest.approx(expected.mean())


def test_the_probability_of_the_true_class_is_the_confidence_of_right_answers(trainings: list[Path]):
    for path in trainings:
        found = load_predictions(path, load_record(path))
        right = found.predicted == found.true
        assert found.own is not None
        np.testing.assert_array_equal(found.own[right], found.confidence[right])
        assert (found.own[~right] <= found.confidence[~right]).all() and (found.own > 0).all()


def test_the_page_has_one_row_a_recipe_and_a_figure(trainings: list[Path], tmp_path: Path):
    done = CliRunner().invoke(
        app, ["report", *map(str, trainings), "--prediction-difference", "--output", str(tmp_path / "a.md")]
    )
    assert done.exit_code == 0, done.exception
    page = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["Prediction difference"]
    (row,) = [line for line in page.splitlines() if line.startswith("| protonet")]
    (found,) = differences_of([(path, load_record(path)) for path in trainings])
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3:] == ["2", str(found.accuracy), f"{100 * found.confidence:.2f}", str(found.relative), str(found.churn)]
    assert (tmp_path / "a-files" / "1-difference.svg").read_text(encoding="utf-8").count("relative prediction difference") == 1


def test_a_page_takes_the_same_table_and_the_figure_may_be_written_alone(trainings: list[Path], tmp_path: Path):
    words = ["report", *map(str, trainings), "--prediction-difference", "--output"]
    for name, start in (("a.md", b"# Prediction"), ("a.svg", b"<?xml"), ("a.png", b"\x89PNG")):
        assert CliRunner().invoke(app, [*words, str(tmp_path / name)]).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    table = differences_part("records=results/*.json", tmp_path)
    assert len(table) == 3 and "\n".join(table) in (tmp_path / "a.md").read_text(encoding="utf-8")


def test_three_trainings_have_intervals_of_their_differences(
    trainings: list[Path], tmp_path: Path, altered: Callable[..., RunRecord]
):
    first = load_record(trainings[0])
    section = {"pretraining": {**first.content["backbone"]["pretraining"], "seed": 2}, "weights_sha256": "2" * 64}
    kept = write_predictions(load_predictions(trainings[0], first), tmp_path / "2.json", False)
    write_record(altered(first, backbone=section, predictions=kept), tmp_path / "2.json")
    (found,) = differences_of([(path, load_record(path)) for path in (*trainings, tmp_path / "2.json")])
    answers = [load_predictions(path, load_record(path)).predicted for path in trainings]
    apart = np.mean(answers[0] != answers[1])  # the third answers as the first
    assert found.churn.value == pytest.approx(2 / 3 * apart)
    assert found.churn.half_width == pytest.approx(jackknife_half_width([apart, 0, apart]))
    assert found.relative.half_width is not None and found.relative.half_width > 0


def test_records_that_say_too_little_are_named(trainings: list[Path], tmp_path: Path, altered: Callable[..., RunRecord]):
    with pytest.raises(UserError, match="no two of the records differ in the seed"):
        raise_error(trainings[:1], tmp_path)
    record = load_record(trainings[0])
    older = replace(load_predictions(trainings[0], record), own=None)
    kept = write_predictions(older, trainings[0], False)
    write_record(altered(record, predictions=kept), trainings[0])
    assert load_predictions(trainings[0], load_record(trainings[0])).own is None
    with pytest.raises(UserError, match=r"0.json was made before the probability of the true class was kept; repeat its run"):
        raise_error(trainings, tmp_path)


def raise_error(records: list[Path], folder: Path) -> None:
    words = ["report", *map(str, records), "--prediction-difference", "--output", str(folder / "a.html")]
    done = CliRunner().invoke(app, words)
    assert done.exception is not None
    raise done.exception
