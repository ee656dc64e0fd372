import json
from dataclasses import replace
from pathlib import Path

import pytest

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation.rerun import Where
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.evaluation.submission import check_submission
from fewbench.benchmark.records.identity import place_of
from fewbench.benchmark.records.record import accuracy_section
from fewbench.benchmark.records.store import write_record
from fewbench.core.errors import UserError
from fewbench.core.progress import SILENT


@pytest.fixture
def sent(config: RunConfig):
    """A results folder with one record, and the record."""
    outcome = run(config, SILENT)
    return config.results, outcome.record, outcome.path


@pytest.fixture
def where(config: RunConfig, tmp_path: Path) -> Where:
    return Where({"weights": str(config.weights), "dataset": config.dataset}, tmp_path / "checkpoints")


def problems(folder: Path, where: Where) -> list[str]:
    return [text for one in check_submission(folder, 64, where, SILENT) for text in one.problems]


def test_a_sound_record_is_taken_and_a_sample_runs_again(sent, where: Where):
    folder, record, path = sent
    assert folder / place_of(record) == path
    (found,) = check_submission(folder, 100, where, SILENT)
    assert (found.path, found.problems) == (path, ())
    assert found.again is not None and (found.again.episodes, found.again.verdict) == (100, "same")


def test_accuracies_that_do_not_come_out_again_are_refused(sent, where: Where, altered):
    folder, record, path = sent
    write_record(altered(record, accuracy=accuracy_section(record.accuracies * 0.5, without_replacement=None)), path)
    assert problems(folder, where) == ["its episodes do not come out again"]


def test_a_mean_that_does_not_follow_from_the_episodes_is_refused(sent, where: Where):
    folder, _, path = sent
    content = json.loads(path.read_text())
    content["accuracy"]["mean"] += 0.01
    path.write_text(json.dumps(content))
    (problem,) = problems(folder, where)
    assert "accuracy.mean is" in problem and "by its per-episode accuracies" in problem


def test_a_file_at_another_place_is_refused(sent, where: Where):
    folder, record, path = sent
    path.rename(path.with_name("mine.json"))
    assert problems(folder, where) == [f"it belongs at {place_of(record).relative_to('records').as_posix()}"]


def test_a_link_that_leaves_the_folder_is_refused(sent, where: Where, tmp_path: Path):
    folder, _, path = sent
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert problems(folder, where) == ["it is a link that leaves the folder"]


def test_a_partial_record_is_refused(config: RunConfig, where: Where):
    outcome = run(replace(config, limit=64), SILENT)
    (first, *_) = problems(outcome.path.parents[3], where)
    assert first == "it is partial (64 episodes)"


def test_a_record_whose_weights_are_not_here_is_noted(sent, config: RunConfig, tmp_path: Path):
    (found,) = check_submission(sent[0], 64, Where({"dataset": config.dataset}, tmp_path / "checkpoints"), SILENT)
    assert found.problems == () and found.again is None
    assert "not run again: --weights tiny" in found.notes[-1]


def test_a_folder_without_records_is_one_line(where: Where, tmp_path: Path):
    with pytest.raises(UserError, match="has no record"):
        check_submission(tmp_path, 64, where, SILENT)
