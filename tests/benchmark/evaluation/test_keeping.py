"""Runs that keep the answer to every query: what is kept, that interruptions lose nothing, and what is told of damage."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation import keeping, runner
from fewbench.benchmark.evaluation.replay import open_task
from fewbench.benchmark.evaluation.rerun import Where
from fewbench.benchmark.evaluation.submission import check_submission
from fewbench.benchmark.records.merging import merge
from fewbench.benchmark.records.predictions import Predictions, load_predictions
from fewbench.benchmark.records.store import load_record, write_record
from fewbench.core.errors import Interrupted, UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.methods.base import Episodes
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.episodes import ABSENT

CHUNK = 64  # episodes a chunk, as `same_conditions` says

pytestmark = pytest.mark.usefixtures("same_conditions")


@pytest.fixture
def keeping_config(config: RunConfig) -> RunConfig:
    return replace(config, keep_predictions=True)


def kept(outcome: runner.Outcome) -> Predictions:
    return load_predictions(outcome.path, outcome.record)


def files(config: RunConfig) -> list[str]:
    return sorted(path.suffix for path in config.results.rglob("*") if path.is_file())


@pytest.mark.parametrize("sampler", ["uniform", "meta-dataset"])
def test_the_answers_are_those_to_the_drawn_queries(keeping_config: RunConfig, sampler: str):
    config = replace(keeping_config, sampler=sampler)
    outcome = runner.run(config, SILENT)
    found, batch = kept(outcome), open_task(config, SILENT).sampler.draw(0, config.episodes)
    asked = batch.query_labels != ABSENT
    classes = np.take_along_axis(batch.classes, np.maximum(batch.query_labels, 0), axis=1)
    np.testing.assert_array_equal(found.queries, asked.sum(axis=1))
    np.testing.assert_array_equal(found.row, batch.query[asked])
    np.testing.assert_array_equal(found.true, classes[asked])
    np.testing.assert_allclose(found.accuracies, outcome.record.accuracies, atol=1e-12)
    untied = found.ties <= 1
    np.testing.assert_array_equal((found.predicted == found.true)[untied], (found.ties == 1)[untied])
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()


def test_the_record_is_the_same_but_for_the_section_that_names_them(config: RunConfig, keeping_config: RunConfig):
    plain = dict(runner.run(config, SILENT).record.content)
    outcome = runner.run(replace(keeping_config, results=config.results / "kept"), SILENT)
    named = dict(outcome.record.content)
    assert "predictions" not in plain
    assert named.pop("predictions") == {
        "sha256": outcome.record.predictions.sha256, "answers": 340 * 25, "confidence": "softmax",
    }  # fmt: skip
    del plain["timing"], named["timing"]
    assert named == plain


def test_scores_that_are_probabilities_are_taken_as_they_are(keeping_config: RunConfig, monkeypatch: pytest.MonkeyPatch):
    of_softmax = kept(runner.run(keeping_config, SILENT))
    classify = ProtoNet.classify
    monkeypatch.setattr(ProtoNet, "classify", lambda self, episodes: classify(self, episodes).softmax(dim=2))
    outcome = runner.run(replace(keeping_config, overwrite=True), SILENT)
    assert outcome.record.predictions.confidence == "score"
    np.testing.assert_allclose(kept(outcome).confidence, of_softmax.confidence, rtol=1e-4)
    assert files(keeping_config) == [".json", ".npz"]  # the older predictions are gone


def test_an_interrupted_run_goes_on_to_the_same_bytes(keeping_config: RunConfig, monkeypatch: pytest.MonkeyPatch, listener):
    undisturbed = runner.run(replace(keeping_config, results=keeping_config.results / "undisturbed"), SILENT)
    classify, seen = ProtoNet.classify, []

    def until(self: ProtoNet, episodes: Episodes) -> torch.Tensor:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(len(episodes))
        return classify(self, episodes)

    with monkeypatch.context() as patch:
        patch.setattr(ProtoNet, "classify", until)
        with pytest.raises(Interrupted, match="after 192 of 340"):
            runner.run(keeping_config, SILENT)
    (partial,) = keeping_config.results.glob("records/**/*.partial.json")
    left = load_predictions(partial, load_record(partial))
    assert len(left) == 192
    outcome = runner.run(keeping_config, listener)
    assert listener.said == ["resuming after 192 of 340 episodes"]
    assert outcome.record.predictions == undisturbed.record.predictions
    assert sorted(path.name for path in outcome.path.parent.iterdir()) == sorted(
        path.name for path in undisturbed.path.parent.iterdir()
    )


def test_a_part_without_predictions_is_not_continued(config: RunConfig, keeping_config: RunConfig, listener):
    partial = runner.run(replace(config, limit=CHUNK), SILENT).path
    outcome = runner.run(keeping_config, listener)
    assert listener.said == [f"{partial} has no predictions; starting from the first episode"]
    assert len(kept(outcome)) == 340


def test_a_finished_record_without_predictions_is_made_again(config: RunConfig, keeping_config: RunConfig, listener):
    first = runner.run(config, SILENT)
    outcome = runner.run(keeping_config, listener)
    assert listener.said == [f"{first.path} has no predictions; it is made again"]
    assert not outcome.reused and len(kept(outcome)) == 340
    assert runner.run(keeping_config, SILENT).reused
    assert runner.run(config, SILENT).reused and files(config) == [".json", ".npz"]
    runner.run(replace(config, overwrite=True), SILENT)
    assert files(config) == [".json"]


def test_an_error_leaves_no_predictions(keeping_config: RunConfig, monkeypatch: pytest.MonkeyPatch):
    classify, seen = ProtoNet.classify, []

    def until(self: ProtoNet, episodes: Episodes) -> torch.Tensor:
        seen.append(len(episodes))
        return classify(self, episodes) * (torch.nan if len(seen) == 3 else 1)

    monkeypatch.setattr(ProtoNet, "classify", until)
    with pytest.raises(UserError, match="NaN scores"):
        runner.run(keeping_config, SILENT)
    assert files(keeping_config) == []


def test_too_many_answers_are_told_before_anything_runs(keeping_config: RunConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "MOST_ANSWERS", 1000)
    with pytest.raises(UsageError, match=r"^--keep-predictions: 340 episodes may have 8,500 answers, more than 1,000"):
        runner.run(keeping_config, SILENT)
    assert files(keeping_config) == []


def damaged(path: Path, record) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def test_a_merge_brings_the_predictions_along(keeping_config: RunConfig, config: RunConfig, tmp_path: Path):
    outcome = runner.run(keeping_config, SILENT)
    (target,) = merge([config.results], tmp_path / "all").added
    assert len(load_predictions(target, load_record(target))) == 340
    assert merge([config.results], tmp_path / "all").known == 1
    (file,) = config.results.rglob("*.npz")
    file.unlink()
    (problem,) = merge([config.results], tmp_path / "other").problems
    assert str(outcome.path) in problem and not (tmp_path / "other").exists()
    runner.run(replace(config, overwrite=True), SILENT)
    assert merge([config.results], tmp_path / "all").known == 1  # the same answers, whether they were kept or not


def removed(path: Path, record) -> None:
    path.unlink()


DAMAGE: dict[Callable[..., None], str] = {damaged: "its SHA-256 is not that of its record", removed: "that are not beside it"}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_damage_is_one_line_that_says_how_to_go_on(keeping_config: RunConfig, damage, listener):
    outcome = runner.run(keeping_config, SILENT)
    (file,) = keeping_config.results.rglob("*.npz")
    damage(file, outcome.record)
    with pytest.raises(UserError, match=f"{DAMAGE[damage]}.*; repeat its run with --keep-predictions$"):
        kept(outcome)
    where = Where({"weights": str(keeping_config.weights), "dataset": keeping_config.dataset}, keeping_config.results)
    (checked,) = check_submission(keeping_config.results, CHUNK, where, SILENT)
    assert len(checked.problems) == 1 and DAMAGE[damage] in checked.problems[0]
    assert len(kept(runner.run(keeping_config, listener))) == 340
    assert len(listener.said) == 1 and listener.said[0].endswith("; it is made again")


@pytest.mark.parametrize("name", [one.name for one in fields(Predictions)])
def test_a_file_of_other_answers_is_told_even_if_its_hash_is_right(keeping_config: RunConfig, name: str, altered):
    outcome = runner.run(keeping_config, SILENT)
    found = kept(outcome)
    for wrong in (getattr(found, name)[:-1], getattr(found, name).astype("<u8")):
        kept_now = keeping.write_predictions(replace(found, **{name: wrong}), outcome.path, False)
        record = altered(outcome.record, predictions=kept_now)
        write_record(record, outcome.path)
        with pytest.raises(UserError, match="is not the predictions of its record"):
            load_predictions(outcome.path, record)


def test_answers_of_other_accuracies_are_told(keeping_config: RunConfig, altered):
    outcome = runner.run(keeping_config, SILENT)
    found = kept(outcome)
    record = altered(
        outcome.record,
        predictions=keeping.write_predictions(replace(found, ties=np.roll(found.ties, 1)), outcome.path, False),
    )
    with pytest.raises(UserError, match="they do not have the record's accuracies"):
        load_predictions(outcome.path, record)
