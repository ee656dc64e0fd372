from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.commands.results import plot
from fewbench.benchmark.commands.show import show
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.records.record import accuracy_section
from fewbench.benchmark.records.store import load_record, write_record
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT
from fewbench.tasks.testbed import make_testbed
from fewbench.tasks.testbed_files import write_testbed


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tasks on the test classes of `tiny`, of which those with near numbers are near."""
    path = tmp_path_factory.mktemp("testbed") / "tiny.parquet"
    distances = np.abs(np.arange(12.0)[:, None] - np.arange(12))
    drawn = make_testbed(np.arange(13) * 30, distances, ways=3, shots=1, queries=5, tasks=40, alpha=0.1, beta=1.0, seed=5)
    write_testbed(path, drawn)
    return path


@pytest.fixture(scope="module")
def recorded(tiny: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs 40 episodes on `tiny` and gives the path of the record."""
    output = tmp_path_factory.mktemp("results")

    def make(**options) -> Path:
        common = {"weights": str(tiny_weights), "queries": 5, "episodes": 40, "device": "cpu"}
        return run(RunConfig(dataset=tiny, results=output, **{**common, **options}), SILENT).path

    return make


@pytest.fixture(scope="module")
def record(recorded: Callable[..., Path], testbed: Path) -> Path:
    """The record of a run on the testbed."""
    return recorded(testbed=testbed)


@pytest.fixture(scope="module")
def without_coarsity(recorded: Callable[..., Path]) -> Path:
    """The record of a run on a uniform task."""
    return recorded()


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


@pytest.fixture
def sized(without_coarsity: Path, tmp_path: Path, altered) -> Callable[..., Path]:
    """A function that gives a record of a network of so many parameters, and of encoding that took so many seconds."""

    def make(name: str, parameters: int | None, seconds: float | None, **task) -> Path:
        record = load_record(without_coarsity)
        encoding = {"images": 360, "seconds": seconds, "device": "cpu", "device_name": "a CPU", "precision": "fp32"}
        timing = {"encoding": None if seconds is None else encoding}
        made = altered(record, backbone={"network_parameters": parameters}, timing=timing, task=task)
        write_record(made, tmp_path / f"{name}.json")
        return tmp_path / f"{name}.json"

    return make


def test_scaling_is_drawn_and_what_is_not_in_it_is_said(sized, tmp_path, capsys):
    records = [sized("new", 10_000, 2.5), sized("old", None, 2.5), sized("untimed", 20_000, None)]
    plot.scaling(records, tmp_path / "scaling.svg")
    said = capsys.readouterr()
    assert (tmp_path / "scaling.svg").read_bytes().startswith(b"<?xml") and said.out == f"{tmp_path / 'scaling.svg'}\n"
    old, untimed = said.err.splitlines()
    assert old.startswith("warning: left out") and old.endswith(f"repeat the run with --overwrite: {records[1]}")
    assert untimed == f"warning: no time of encoding, so in the panel of parameters alone: {records[2]}"


def test_scaling_of_older_records_alone_is_an_error(sized, tmp_path):
    old = sized("old", None, None)
    with pytest.raises(UserError, match=r"^no record has the number of the network's parameters, .*: .*old\.json$"):
        plot.scaling([old], tmp_path / "scaling.svg")
    assert not (tmp_path / "scaling.svg").exists()


def test_scaling_of_several_tasks_is_refused(sized, tmp_path):
    with pytest.raises(UsageError, match="several tasks"):
        plot.scaling([sized("a", 10_000, 2.5), sized("b", 10_000, 2.5, shots=5)], tmp_path / "scaling.svg")
    assert not (tmp_path / "scaling.svg").exists()


@pytest.fixture
def read(without_coarsity: Path, tmp_path: Path, altered) -> Callable[..., Path]:
    """A function that gives a record of a method that read its class names in prompts, with accuracies moved by so much."""

    def make(prompts: str, gain: float = 0.0, **task) -> Path:
        record = load_record(without_coarsity)
        accuracies = (record.accuracies + gain).clip(0, 1)
        text = {"prompts": prompts, "prompts_sha256": f"of {prompts}", "names_sha256": "names"}
        method = {"name": "clip-zero-shot", "text": text}
        path = tmp_path / f"{prompts}-{len(task)}.json"
        write_record(altered(record, method=method, accuracy=accuracy_section(accuracies), task=task), path)
        return path

    return make


@pytest.mark.parametrize(("name", "start"), [("prompts.svg", b"<?xml"), ("a/b/prompts.png", b"\x89PNG")])
def test_prompts_are_drawn(read, tmp_path, capsys, name, start):
    plot.prompts([read("single"), read("ensemble", 0.1)], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert capsys.readouterr().out == f"{tmp_path / name}\n"


def test_records_of_one_prompt_set_are_refused_and_nothing_is_written(read, without_coarsity, tmp_path):
    with pytest.raises(UsageError, match="give a record with --prompts single too"):
        plot.prompts([read("ensemble"), read("imagenet-7")], tmp_path / "prompts.svg")
    with pytest.raises(UsageError, match=r"protonet, conv4 .*uses no prompts"):
        plot.prompts([read("single"), without_coarsity], tmp_path / "prompts.svg")
    assert not (tmp_path / "prompts.svg").exists()


@pytest.mark.parametrize(("name", "start"), [("shots.svg", b"<?xml"), ("a/b/shots.png", b"\x89PNG")])
def test_shots_are_drawn(read, recorded, without_coarsity, tmp_path, capsys, name, start):
    plot.shots([without_coarsity, recorded(shots=5), read("single")], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert capsys.readouterr().out == f"{tmp_path / name}\n"


def test_shots_of_other_tasks_are_refused_and_nothing_is_written(read, tmp_path):
    with pytest.raises(UsageError, match=r"several tasks.*differing in ways"):
        plot.shots([read("single"), read("single", shots=5, ways=3)], tmp_path / "shots.svg")
    with pytest.raises(UsageError, match=r"end the name in \.svg or \.png"):
        plot.shots([tmp_path / "absent.json"], tmp_path / "shots.pdf")
    assert not (tmp_path / "shots.svg").exists()


def test_an_episode_of_a_record_is_drawn_with_answers(record, tiny, testbed, tiny_weights, tmp_path, capsys):
    drawn = [tmp_path / name for name in ("answers.png", "again.png", "images.png")]
    for path in drawn[:2]:
        plot.episode(index=3, output=path, record=record, dataset=tiny, testbed=testbed, weights=str(tiny_weights))
    assert capsys.readouterr() == (f"{drawn[0]}\n{drawn[1]}\n", "")  # no warning: the accuracy agrees
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    plot.episode(index=3, output=drawn[2], dataset=tiny, testbed=testbed)
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
    coarsity = load_record(record).task.coarsity
    assert coarsity is not None
    assert f"mean {coarsity.mean:.2f}, quartiles {coarsity.quartiles[0]:.2f}, " in capsys.readouterr().out
    show([str(without_coarsity)])
    assert "coarsity" not in capsys.readouterr().out


def test_the_commands_are_part_of_bench():
    listed = CliRunner().invoke(app, ["plot", "--help"]).output
    assert all(name in listed for name in ("coarsity", "scaling", "prompts", "shots", "episode"))
