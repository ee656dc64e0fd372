from pathlib import Path

import pytest
from fewbench.benchmark import RunConfig
from fewbench.benchmark.commands import plot
from fewbench.benchmark.commands.show import show
from fewbench.benchmark.records import load_record
from fewbench.benchmark.runner import run
from fewbench.tasks.errors import UsageError, UserError
from fewbench.tasks.progress import SILENT
from PIL import Image


@pytest.fixture(scope="module")
def record(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a run on forty semantic tasks of trifeature's validation classes."""
    output = tmp_path_factory.mktemp("results")
    common = {"weights": str(tiny_weights), "split": "val", "queries": 5, "episodes": 40, "device": "cpu"}
    return run(RunConfig(sampler="semantic", output=output, **common), SILENT).path


@pytest.fixture(scope="module")
def without_coarsity(tiny: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a run on a uniform task of `tiny`."""
    output = tmp_path_factory.mktemp("results")
    common = {"weights": str(tiny_weights), "queries": 5, "episodes": 40, "device": "cpu"}
    return run(RunConfig(dataset=tiny, output=output, **common), SILENT).path


@pytest.mark.parametrize(("name", "start"), [("coarsity.svg", b"<?xml"), ("a/b/coarsity.png", b"\x89PNG")])
def test_coarsity_is_drawn_to_the_file_and_its_path_printed(record, tmp_path, capsys, name, start):
    plot.coarsity([record], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert capsys.readouterr().out == f"{tmp_path / name}\n"


def test_a_record_without_coarsity_is_named_and_nothing_is_written(record, without_coarsity, tmp_path):
    with pytest.raises(UserError) as caught:
        plot.coarsity([record, without_coarsity], tmp_path / "coarsity.svg")
    message = "has no coarsity; take records of --sampler semantic or --testbed, or repeat the run"
    assert str(caught.value) == f"{without_coarsity} {message}"
    assert not (tmp_path / "coarsity.svg").exists()


def test_a_file_of_another_form_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match=r"end the name in \.svg or \.png"):
        plot.coarsity([tmp_path / "absent.json"], tmp_path / "coarsity.pdf")
    with pytest.raises(UsageError, match=r"end the name in \.png"):
        plot.episode(index=0, output=tmp_path / "episode.svg", record=tmp_path / "absent.json")


def test_an_episode_of_a_record_is_drawn_with_answers(record, tiny_weights, tmp_path, capsys):
    drawn = [tmp_path / name for name in ("answers.png", "again.png", "images.png")]
    for path in drawn[:2]:
        plot.episode(index=3, output=path, record=record, weights=str(tiny_weights))
    assert capsys.readouterr() == (f"{drawn[0]}\n{drawn[1]}\n", "")  # no warning: the accuracy agrees
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    plot.episode(index=3, output=drawn[2], split="val", sampler="semantic", queries=5, episodes=40)
    colours = [
        {colour for _, colour in Image.open(path).convert("RGB").getcolors(2**24) or []} for path in (drawn[0], drawn[2])
    ]
    accuracy = load_record(record).accuracies[3]
    assert 0 < accuracy < 1
    assert {(0x00, 0x9E, 0x3D), (0xD6, 0x27, 0x28)} <= colours[0]  # right and wrong
    assert (0xD6, 0x27, 0x28) not in colours[1]


def test_an_episode_takes_parameters_of_dataset_and_sampler(tiny, tmp_path):
    def colours(*assignments):
        path = tmp_path / "episode.png"
        plot.episode(index=0, output=path, dataset=tiny, ways=2, queries=1, set_=list(assignments))
        return len(Image.open(path).convert("RGB").getcolors(2**24) or [])

    assert colours("dataset.noise=0.001") < colours()  # 16 flat patches an image


def test_show_gives_the_coarsity_of_a_semantic_record_alone(record, without_coarsity, capsys):
    show([str(record)])
    coarsity = load_record(record).task["coarsity"]
    assert f"mean {coarsity['mean']:.2f}, quartiles {coarsity['quartiles'][0]:.2f}, " in capsys.readouterr().out
    show([str(without_coarsity)])
    assert "coarsity" not in capsys.readouterr().out


def test_the_commands_are_there(bench_help):
    assert "coarsity" in bench_help and "episode" in bench_help


@pytest.fixture
def bench_help() -> str:
    """What `bench plot --help` prints, without a process of its own."""
    from fewbench.benchmark.commands.main import app
    from typer.testing import CliRunner

    return CliRunner().invoke(app, ["plot", "--help"]).output
