"""`--results`: one name for the folder of records, checkpoints and figures, and the older spellings of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.config import read_toml
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.store import write_record

ROOT = Path(__file__).parents[4]
NEITHER = {
    "convert-weights",
    "env",
    "data",
    "features",
    "testbed",
    "fit",
    "predict",
    "speed",
    "recommend",
}  # which have nothing to do with results


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function that runs a command in an empty folder and asserts that it succeeds."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    return run


@pytest.fixture
def few(tiny: str, tiny_weights: Path) -> list[str]:
    """The options of a quick run."""
    return ["--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", "20", "--device", "cpu"]


@pytest.fixture
def two(record: RunRecord, tmp_path: Path) -> list[str]:
    """The records `a.json` and `b.json` of one task in `mine/records`, by these names."""
    for name in ("a.json", "b.json"):
        write_record(record, tmp_path / "mine" / "records" / name)
    return ["a.json", "b.json"]


def written() -> set[str]:
    """The files of the current folder."""
    return {Path(folder, name).as_posix() for folder, _, names in os.walk(".") for name in names}


def test_every_command_of_results_takes_the_option():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    plots = {f"plot {name}": command for name, command in commands["plot"].commands.items()}
    of_results = {name: one for name, one in {**commands, **plots}.items() if name not in {*NEITHER, "plot"}}
    for name, command in of_results.items():
        (option,) = (one for one in command.params if "--results" in one.opts)
        assert (str(option.default), option.hidden) == ("results", False), name
        assert option.help == "Folder of records/, checkpoints/ and figures/.", name


@pytest.mark.parametrize("spelling", ["--results", "--output"])
def test_a_run_puts_its_record_into_the_folder(spelling: str, bench, few: list[str]):
    done = bench("run", *few, spelling, "mine")
    (path,) = written()
    assert done.stdout.splitlines()[-1] == path and path.startswith("mine/records/")


def test_the_new_name_counts_where_both_are_typed(bench, few: list[str]):
    bench("run", *few, "--output", "theirs", "--results", "mine")
    assert all(path.startswith("mine/") for path in written())


@pytest.mark.parametrize("spelling", ["results", "output"])
def test_a_file_of_options_names_the_folder(spelling: str, tmp_path: Path):
    (tmp_path / "run.toml").write_text(f'{spelling} = "mine"\n')
    assert read_toml(tmp_path / "run.toml") == {"results": Path("mine")}


@pytest.mark.parametrize("spelling", ["--results", "--output"])
def test_a_pipeline_puts_everything_into_the_folder(spelling: str, bench, tiny: str, tiny_weights: Path):
    Path("stages.toml").write_text(
        f'weights = "{tiny_weights}"\n[[run]]\ndataset = "{tiny}"\nqueries = 5\nepisodes = 20\n', encoding="utf-8"
    )
    bench("pipeline", "protonet", "--config", "stages.toml", "--device", "cpu", spelling, "mine")
    (path,) = written() - {"stages.toml"}
    assert path.startswith("mine/records/")


def test_trained_weights_go_into_the_folder(bench, tiny: str):
    few = ["--dataset", tiny, "--device", "cpu", "--set", "backbone.width=8", "--results", "mine"]
    trained = bench(
        "train", "--method", "protonet", *few, "--val-episodes", "4", "--steps", "1", "--ways", "3", "--queries", "2"
    ).stdout.strip()
    pretrained = bench("pretrain", *few, "--epochs", "1").stdout.strip()
    assert {Path(path).parent.as_posix() for path in (trained, pretrained)} == {"mine/checkpoints"}
    assert trained in written() and pretrained in written()
    shown = bench("show", Path(trained).name, "--results", "mine").stdout
    assert "meta-trained with" in shown


def test_a_record_is_found_by_its_path_in_the_folder(bench, two: list[str]):
    assert "protonet" in bench("compare", *two, "--results", "mine").stdout
    assert "protonet" in bench("show", two[0], "--results", "mine").stdout
    assert "mine/records/a.json" in bench("list", "results", "--results", "mine").stdout
    assert bench("plot", "shots", *two, "--results", "mine").stdout == "mine/figures/shots.svg\n"
    assert Path("mine/figures/shots.svg").is_file()


def test_a_path_as_typed_comes_first(bench, record: RunRecord, two: list[str]):
    write_record(record, Path("a.json"))
    Path("mine/records/a.json").write_text("damaged")
    bench("show", "a.json", "--results", "mine")


def test_an_episode_is_drawn_into_the_folder(bench, tiny: str):
    assert (
        bench("plot", "episode", "--index", "3", "--dataset", tiny, "--results", "mine").stdout
        == "mine/figures/episode-3.png\n"
    )


def test_a_table_takes_its_records_from_the_folder(bench, two: list[str]):
    block = "<!-- table: records=results/records/a.json rows=method.name columns=task.shots -->\n<!-- /table -->\n"
    Path("page.md").write_text(block, encoding="utf-8")
    bench("table", "page.md", "--results", "mine")
    assert "| protonet |" in Path("page.md").read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["table", "page.md"])
    assert str(done.exception).endswith(
        "records=results/records/a.json: no file matches; the glob counts from the results folder results"
    )


def test_the_board_of_other_results_lies_there_and_says_what_it_is_made_of(bench, two: list[str]):
    assert bench("leaderboard", "--results", "mine").stdout == "mine/leaderboard.md\n"
    board = Path("mine/leaderboard.md").read_text(encoding="utf-8")
    assert (
        "from the run records in `mine/records`" in board
        and "`bench leaderboard --format csv --results mine` has the path" in board
    )
    assert {path for path in written() if not path.startswith("mine/records/")} == {
        "mine/leaderboard.md",
        "mine/figures/omniglot.svg",
    }
    bench("leaderboard", "--results", "mine", "--check")


def test_the_board_of_the_default_results_is_that_of_the_current_folder(bench, record: RunRecord, tmp_path: Path):
    write_record(record, tmp_path / "results" / "records" / "a.json")
    assert bench("leaderboard").stdout == "leaderboard.md\n"
    board = Path("leaderboard.md").read_text(encoding="utf-8")
    assert "from the run records in `results/records`" in board and "`bench leaderboard --format csv` has the path" in board
    committed = (ROOT / "leaderboard.md").read_text(encoding="utf-8")
    assert board.partition("<!--")[0] == committed.partition("<!--")[0]
