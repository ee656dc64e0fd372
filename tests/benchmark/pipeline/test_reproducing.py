"""A reproduction from its training to the page, on a dataset of noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.backbones.weights.checkpoint import read_description, weights_sha256
from fewbench.benchmark.pipeline.reproduction import Comparison, compare, load, weights_file
from fewbench.benchmark.pipeline.running import Call, carry_out_pipeline
from fewbench.benchmark.records.store import load_record
from fewbench.benchmark.reporting.reproduction import update
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT, Progress

BEGIN, END = "<!-- reproduction:begin -->", "<!-- reproduction:end -->"
PAGE = f"# Page\n\nbefore\n\n{BEGIN}\n{END}\n\nafter\n"


def reproduce(
    name: str, results: Path, progress: Progress = SILENT, weights: Path | None = None, **how: Any
) -> list[Comparison]:
    pipeline = load(name, weights)
    carry_out_pipeline(pipeline, Call(results, progress, "cpu", **how))
    return compare(pipeline, results)


def checkpoint(name: str, results: Path, stage: str = "train") -> Path:
    return weights_file(load(name), stage, results)


@pytest.fixture
def results(reproductions: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "results"
    reproduce("quick", folder)
    yield folder


def test_a_reproduction_is_trained_evaluated_and_compared(results: Path):
    one, two = compare(load("quick"), results)
    assert one.about is not None and one.about.pretraining.steps == 4
    assert one.record is not None and two.record is not None
    assert one.path is not None and load_record(one.path).mean == one.record.mean
    assert one.record.backbone.weights == "quick" and one.record.n_episodes == 60
    assert one.record.task.shots == 1 and two.record.task.shots == 2
    assert one.difference == pytest.approx(100 * one.record.mean - 40) and one.verdict is not None
    assert two.difference is None and two.verdict is None


def test_nothing_is_done_twice_and_the_parts_that_lack_are(results: Path, listener):
    first = reproduce("quick", results, listener)
    assert listener.bars == []
    assert first[1].path is not None
    first[1].path.unlink()
    second = reproduce("quick", results, listener)
    assert len(listener.bars) == 2  # one evaluation: its episodes, and those that share no image
    assert not any("training" in bar for bar, *_ in listener.bars)
    assert second[1].record is not None and second[1].path == first[1].path


def alone(weights: Path) -> None:
    """Leave the description in the place of the weights."""
    description = read_description(weights)
    assert description is not None
    weights.with_suffix(".json").write_text(description.to_json(), encoding="utf-8")
    weights.unlink()


def test_the_description_alone_is_enough_to_compare(results: Path):
    """Large checkpoints are not kept with the project."""
    alone(checkpoint("quick", results))
    assert all(one.record is not None for one in compare(load("quick"), results))


def test_runs_of_another_training_do_not_count(results: Path, reproductions: Path):
    path = reproductions / "quick.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("steps = 4", "steps = 6"), encoding="utf-8")
    assert all(one.record is None for one in compare(load("quick"), results))
    with pytest.raises(UsageError, match="of another training than quick now is; --overwrite trains it anew"):
        reproduce("quick", results)
    one, _ = reproduce("quick", results, overwrite=True)
    assert one.about is not None and one.about.pretraining.steps == 6 and one.record is not None


def test_a_training_out_of_time_goes_on(reproductions: Path, tmp_path: Path):
    with pytest.raises(UserError, match="after 1 of 4 steps; the same command goes on"):
        reproduce("quick", tmp_path, time_limit=1e-9)
    assert reproduce("quick", tmp_path)[0].record is not None


def test_the_page_says_what_was_found_and_what_was_not_run(results: Path, reproductions: Path, tmp_path: Path):
    text = (reproductions / "quick.toml").read_text(encoding="utf-8")
    (reproductions / "never.toml").write_text(text, encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert update(page, results, check=True) and page.read_text(encoding="utf-8") == PAGE
    assert update(page, results) and not update(page, results) and not update(page, results, check=True)
    filled = page.read_text(encoding="utf-8")
    assert filled.startswith(PAGE.split(BEGIN)[0]) and filled.endswith(PAGE.split(END)[1])
    one, _ = compare(load("quick"), results)
    assert one.record is not None and one.record.half_width is not None and one.about is not None
    assert one.difference is not None and one.combined is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in filled.splitlines() if line.startswith("| ")]
    assert [row[:4] for row in rows[2:]] == [
        ["never", "5-way 1-shot, 5 queries", "–", "40.0 ± 3.0"],
        ["never", "5-way 2-shot, 5 queries", "–", "–"],
        ["quick", "5-way 1-shot, 5 queries", "inductive", "40.0 ± 3.0"],
        ["quick", "5-way 2-shot, 5 queries", "inductive", "–"],
    ]
    assert [row[-1] for row in rows[2:]] == ["not run yet", "not run yet", one.verdict, "–"]
    assert rows[4][4] == f"{100 * one.record.mean:.2f} ± {100 * one.record.half_width:.2f}"
    assert rows[4][5] == f"{one.difference:+.2f} ± {one.combined:.2f}"
    assert rows[4][6] == "60" and rows[4][7] == f"{one.about.pretraining.seconds:.0f} s on cpu, 4 steps"
    assert "- **quick**: ProtoNet on noise. Published: nobody. Differs from the paper: all of it.\n" in filled


@pytest.mark.parametrize("text", ["no marker", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_page_without_its_markers_is_refused(text: str, reproductions: Path, tmp_path: Path):
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="needs one line '<!-- reproduction:begin -->'"):
        update(tmp_path / "page.md", tmp_path)
    with pytest.raises(UserError, match="no such file"):
        update(tmp_path / "absent.md", tmp_path)


PRETRAIN = '[pretrain]\nepochs = 1\nbatch-size = 60\n[pretrain.set]\n"backbone.width" = 8\n\n[train]'


def test_a_reproduction_may_pretrain_what_its_training_starts_from(reproductions: Path, tiny: str, tmp_path: Path, listener):
    path, results = reproductions / "quick.toml", tmp_path / "results"
    path.write_text(path.read_text(encoding="utf-8").replace("[train]", PRETRAIN), encoding="utf-8")
    one, _ = reproduce("quick", results)
    pretrained = checkpoint("quick", results, "pretrain")
    assert one.record is not None and one.about is not None
    assert one.about.pretraining.started_from.weights_sha256 == weights_sha256(pretrained)
    checkpoint("quick", results).unlink()
    reproduce("quick", results, listener)
    assert [bar for bar, *_ in listener.bars] == ["training"]  # the meta-training alone; its evaluations are there
    path.write_text(path.read_text(encoding="utf-8").replace("epochs = 1", "epochs = 2"), encoding="utf-8")
    assert compare(load("quick"), results)[0].record is None  # that checkpoint is of another pretraining


def test_a_reproduction_may_start_where_another_ended(reproductions: Path, tmp_path: Path, listener):
    first, results = reproductions / "quick.toml", tmp_path / "results"
    text = first.read_text(encoding="utf-8")
    (reproductions / "second.toml").write_text(f'after = "quick"\n{text}', encoding="utf-8")
    one, _ = reproduce("second", results)
    started = checkpoint("quick", results)
    assert one.record is not None and one.about is not None
    assert one.about.pretraining.started_from.weights_sha256 == weights_sha256(started)
    assert compare(load("quick"), results)[0].record is None  # trained, not evaluated
    alone(started)
    reproduce("second", results, listener)
    assert listener.bars == []  # what is there is not made again for its beginning's sake
    first.write_text(text.replace("steps = 4", "steps = 6"), encoding="utf-8")
    assert compare(load("second"), results)[0].record is None  # that checkpoint starts from another one


def test_a_reproduction_may_start_from_weights_which_may_come_by_hand(reproductions: Path, tiny_weights: Path, tmp_path: Path):
    path, results = reproductions / "quick.toml", tmp_path / "results"
    with pytest.raises(UsageError, match=r"quick starts from no weights"):
        reproduce("quick", results, weights=tiny_weights)
    path.write_text(f'weights = "conv4-omniglot"\n{path.read_text(encoding="utf-8")}', encoding="utf-8")
    one, _ = reproduce("quick", results, weights=tiny_weights)
    assert one.record is not None and one.about is not None
    assert one.about.pretraining.started_from.weights_sha256 == weights_sha256(tiny_weights)


def test_runs_of_varying_shape_on_another_dataset_and_with_a_scope(reproductions: Path, tiny: str, tmp_path: Path):
    path, results = reproductions / "quick.toml", tmp_path / "results"
    more = f'\n[[run]]\ndataset = "{tiny}"\nsampler = "meta-dataset"\nepisodes = 20\ntune = "none"\n'
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    *_, varying = reproduce("quick", results)
    assert varying.record is not None and varying.record.task.ways is None
    assert varying.record.task.sampler == "meta-dataset" and varying.record.n_episodes == 20
    assert varying.task == "varying ways and shots, tune=none"
    path.write_text(path.read_text(encoding="utf-8").replace('tune = "none"', 'tune = "full"'), encoding="utf-8")
    assert compare(load("quick"), results)[-1].record is None
