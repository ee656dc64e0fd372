import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.commands.results.published import list_published
from fewbench.benchmark.published.table import COLUMNS, FILE
from fewbench.core.errors import UserError

RESULTS = Path(__file__).parents[4] / "results"


def test_numbers_are_listed_with_their_sources_and_those_left_out_are_counted(capsys: pytest.CaptureFixture):
    list_published(RESULTS, {"dataset": "mini-imagenet", "ways": "5", "shots": "1", "method": "protonet", "backbone": "conv4"})
    heading, first, *_, count, mark = capsys.readouterr().out.splitlines()
    assert "dataset" not in heading  # told by the option
    assert "49.42 ± 0.78" in first and "https://arxiv.org/abs/1703.05175" in first
    assert count.startswith("13 published numbers of dataset mini-imagenet, ways 5, shots 1, ") and "left out" in count
    assert mark.startswith("≠ ")


def test_without_options_every_dataset_is_listed(capsys: pytest.CaptureFixture):
    list_published(RESULTS, {})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("cifar-fs ") for line in lines)
    assert "--dataset NAME" in lines[-1]


def test_nothing_found_is_one_line_with_what_there_is(capsys: pytest.CaptureFixture):
    list_published(RESULTS, {"method": "protonet", "dataset": "fc100", "shots": "16"})
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "no published number has all of dataset fc100, shots 16, method protonet; with another shots: 1, 5"


def test_a_folder_without_published_numbers_has_those_of_the_package(tmp_path: Path, capsys: pytest.CaptureFixture):
    list_published(tmp_path, {})
    of_package = capsys.readouterr().out
    list_published(RESULTS, {})
    assert of_package == capsys.readouterr().out


def test_a_table_without_published_numbers_is_an_error(tmp_path: Path):
    (tmp_path / FILE).write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"published\.csv: no number in it$"):
        list_published(tmp_path, {})


def test_figures_of_published_numbers_go_into_the_results(tmp_path: Path):
    shutil.copy(RESULTS / "published.csv", tmp_path)
    done = CliRunner().invoke(app, ["plot", "published-spread", "--results", str(tmp_path)])
    drawn = tmp_path / "figures" / "published-spread.svg"
    assert (done.exit_code, done.stdout) == (0, f"{drawn}\n")
    assert drawn.read_bytes().startswith(b"<?xml")


def test_a_figure_of_ours_needs_runs_beside_published_numbers(tmp_path: Path):
    (tmp_path / "records").mkdir()
    found = CliRunner().invoke(app, ["plot", "published-ours", "--results", str(tmp_path)])
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == "no run of ours stands beside a published number"


def test_options_of_published_numbers_go_with_no_other_list():
    found = CliRunner().invoke(app, ["list", "methods", "--dataset", "omniglot"])
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == "--dataset goes with bench list published"
