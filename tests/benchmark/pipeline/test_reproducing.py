"""A recipe from its training to the page, on a dataset of noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fewbench.benchmark.pipeline.comparison import compare
from fewbench.benchmark.pipeline.page import BEGIN, END, update_page
from fewbench.benchmark.pipeline.recipe import load
from fewbench.benchmark.pipeline.reproducing import reproduce
from fewbench.benchmark.records.record import load_record
from fewbench.core.errors import UsageError, UserError
from fewbench.core.files import sha256_of
from fewbench.core.progress import SILENT

PAGE = f"# Page\n\nbefore\n\n{BEGIN}\n{END}\n\nafter\n"


class Told:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.verbose, self.lines, self.bars = False, [], []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def track(self, description: str, total: int, unit: str = ""):
        self.bars.append(description)
        return SILENT.track(description, total)


@pytest.fixture
def results(recipes: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "results"
    reproduce(load("quick"), folder, SILENT, "cpu")
    yield folder


def test_a_recipe_is_trained_evaluated_and_compared(results: Path):
    one, two = compare(load("quick"), results)
    assert one.about is not None and one.about["pretraining"]["steps"] == 4
    assert one.record is not None and two.record is not None
    assert one.path is not None and load_record(one.path).mean == one.record.mean
    assert one.record.backbone["weights"] == "quick" and one.record.n_episodes == 60
    assert one.record.task["shots"] == 1 and two.record.task["shots"] == 2
    assert one.difference == pytest.approx(100 * one.record.mean - 40) and one.verdict is not None
    assert two.difference is None and two.verdict is None


def test_nothing_is_done_twice_and_the_parts_that_lack_are(results: Path):
    told = Told()
    first = reproduce(load("quick"), results, told, "cpu")
    assert told.bars == []
    assert first[1].path is not None
    first[1].path.unlink()
    second = reproduce(load("quick"), results, told, "cpu")
    assert len(told.bars) == 2  # one evaluation: its episodes, and those that share no image
    assert not any("training" in bar for bar in told.bars)
    assert second[1].record is not None and second[1].path == first[1].path


def test_the_description_alone_is_enough_to_compare(results: Path):
    """Large checkpoints are not kept with the project."""
    load("quick").checkpoint(results).unlink()
    assert all(one.record is not None for one in compare(load("quick"), results))


def test_runs_of_another_training_do_not_count(results: Path, recipes: Path):
    path = recipes / "quick.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("steps = 4", "steps = 6"), encoding="utf-8")
    assert all(one.record is None for one in compare(load("quick"), results))
    with pytest.raises(UsageError, match="of another training than recipe quick now is; --overwrite trains it anew"):
        reproduce(load("quick"), results, SILENT, "cpu")
    one, _ = reproduce(load("quick"), results, SILENT, "cpu", overwrite=True)
    assert one.about is not None and one.about["pretraining"]["steps"] == 6 and one.record is not None


def test_a_training_out_of_time_goes_on(recipes: Path, tmp_path: Path):
    with pytest.raises(UserError, match="after 1 of 4 steps; the same command goes on"):
        reproduce(load("quick"), tmp_path, SILENT, "cpu", time_limit=1e-9)
    assert reproduce(load("quick"), tmp_path, SILENT, "cpu")[0].record is not None


def test_the_page_says_what_was_found_and_what_was_not_run(results: Path, recipes: Path, tmp_path: Path):
    text = (recipes / "quick.toml").read_text(encoding="utf-8")
    (recipes / "never.toml").write_text(text, encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert update_page(page, results, check=True) and page.read_text(encoding="utf-8") == PAGE
    assert update_page(page, results) and not update_page(page, results) and not update_page(page, results, check=True)
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
    assert rows[4][6] == "60" and rows[4][7] == f"{one.about['pretraining']['seconds']:.0f} s on cpu, 4 steps"
    assert "- **quick**: ProtoNet on noise. Published: nobody. Differs from the paper: all of it.\n" in filled


@pytest.mark.parametrize("text", ["no marker", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_page_without_its_markers_is_refused(text: str, recipes: Path, tmp_path: Path):
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="needs one line '<!-- reproduction:begin -->'"):
        update_page(tmp_path / "page.md", tmp_path)
    with pytest.raises(UserError, match="no such file"):
        update_page(tmp_path / "absent.md", tmp_path)


PRETRAIN = '[pretrain]\ndataset = "{dataset}"\nepochs = 1\nbatch-size = 60\n[pretrain.set]\n"backbone.width" = 8\n\n[train]'


def test_a_recipe_may_pretrain_what_its_training_starts_from(recipes: Path, tiny: str, tmp_path: Path):
    path, results = recipes / "quick.toml", tmp_path / "results"
    path.write_text(path.read_text(encoding="utf-8").replace("[train]", PRETRAIN.format(dataset=tiny)), encoding="utf-8")
    one, _ = reproduce(load("quick"), results, SILENT, "cpu")
    pretrained = load("quick").pretrained(results)
    assert one.record is not None and one.about is not None
    assert one.about["pretraining"]["started_from"]["weights_sha256"] == sha256_of(pretrained)
    told = Told()
    load("quick").checkpoint(results).unlink()
    reproduce(load("quick"), results, told, "cpu")
    assert told.bars == ["training"]  # the meta-training alone; its evaluations are there
    path.write_text(path.read_text(encoding="utf-8").replace("epochs = 1", "epochs = 2"), encoding="utf-8")
    assert compare(load("quick"), results)[0].record is None  # that checkpoint is of another pretraining


def test_a_recipe_may_start_where_another_ended(recipes: Path, tmp_path: Path):
    first, results = recipes / "quick.toml", tmp_path / "results"
    text = first.read_text(encoding="utf-8")
    (recipes / "second.toml").write_text(f'after = "quick"\n{text}', encoding="utf-8")
    one, _ = reproduce(load("second"), results, SILENT, "cpu")
    started = load("quick").checkpoint(results)
    assert one.record is not None and one.about is not None
    assert one.about["pretraining"]["started_from"]["weights_sha256"] == sha256_of(started)
    assert compare(load("quick"), results)[0].record is None  # trained, not evaluated
    started.unlink()
    told = Told()
    reproduce(load("second"), results, told, "cpu")
    assert told.bars == []  # what is there is not made again for its beginning's sake
    first.write_text(text.replace("steps = 4", "steps = 6"), encoding="utf-8")
    assert compare(load("second"), results)[0].record is None  # that checkpoint starts from another one


def test_a_recipe_may_start_from_weights_which_may_come_by_hand(recipes: Path, tiny_weights: Path, tmp_path: Path):
    path, results = recipes / "quick.toml", tmp_path / "results"
    with pytest.raises(UsageError, match=r"recipe quick starts from no weights"):
        reproduce(load("quick"), results, SILENT, "cpu", weights=tiny_weights)
    path.write_text(f'weights = "conv4-omniglot"\n{path.read_text(encoding="utf-8")}', encoding="utf-8")
    one, _ = reproduce(load("quick"), results, SILENT, "cpu", weights=tiny_weights)
    assert one.record is not None and one.about is not None
    assert one.about["pretraining"]["started_from"]["weights_sha256"] == sha256_of(tiny_weights)


def test_evaluations_of_varying_shape_on_another_dataset_and_with_a_scope(recipes: Path, tiny: str, tmp_path: Path):
    path, results = recipes / "quick.toml", tmp_path / "results"
    more = f'\n[[evaluation]]\ndataset = "{tiny}"\nsampler = "meta-dataset"\nepisodes = 20\ntune = "none"\n'
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    *_, varying = reproduce(load("quick"), results, SILENT, "cpu")
    assert varying.record is not None and varying.record.task["ways"] is None
    assert varying.record.task["sampler"] == "meta-dataset" and varying.record.n_episodes == 20
    assert varying.evaluation.task == f"{tiny}, varying ways and shots, tune=none"
    path.write_text(path.read_text(encoding="utf-8").replace('tune = "none"', 'tune = "full"'), encoding="utf-8")
    assert compare(load("quick"), results)[-1].record is None
