"""`bench probe`, its file, its table and its figure."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.checkpoint import write_checkpoint
from fewbench.benchmark.backbones.weights.description import Description
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.probe.probe import chosen_rows
from fewbench.benchmark.probe.results import Probe, read_probe, training_of, write_probe
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.benchmark.reporting.decodability import decodability_part, decodability_table
from fewbench.benchmark.reporting.figures.decodability import draw_decodability
from fewbench.core.errors import UserError

pytest.importorskip("sklearn")
SEED = 5
SEEN = Pretraining("multi-digits", "simclr", external=False, seed=SEED, dataset_parameters={"scale": 2})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Initial weights that a training with this seed begins with."""
    path = tmp_path_factory.mktemp("weights") / "initial.safetensors"
    module = Conv4(width=4).build(1, 48, torch.Generator().manual_seed(SEED))
    about = Description("conv4", {"width": 4}, Preprocess(1, 48, (0.1,), (0.2,)), SEEN)
    write_checkpoint(path, module.state_dict(), about)
    return path


@pytest.fixture(scope="module")
def bench() -> Callable[..., str]:
    def run(*words: object) -> str:
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return run


@pytest.fixture(scope="module")
def found(weights: Path, bench: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small probe."""
    results = tmp_path_factory.mktemp("results")
    out = bench("probe", "--dataset", "multi-digits", "--set", "scale=3", "--weights", weights, "--images", 300,
                "--tested", 200, "--device", "cpu", "--results", results)  # fmt: skip
    assert out.splitlines()[0].split() == "layer numbers first before first after second before second after".split()
    path = Path(out.splitlines()[-1])
    assert path == results / "probes" / "multi-digits-initial.json"
    return path


def test_weights_that_no_training_changed_read_the_same_before_and_after(found: Path):
    probe = read_probe(found)
    assert probe.dataset_parameters == {"scale": 3} and probe.values == {"first": 10, "second": 10}
    assert probe.images == {"train": 300, "val": 100, "test": 200}
    assert probe.layers == ["0", "1", "2", "feature"]
    assert all(one.before == one.after for one in probe.readouts) and len(probe.readouts) == 8
    assert max(one.after for one in probe.readouts if one.attribute == "first") > 0.4  # four times the chance
    assert probe.at("feature", "second").width == 4 * 3 * 3


def test_a_probe_is_written_as_it_is_read(found: Path, tmp_path: Path):
    write_probe(read_probe(found), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == found.read_bytes()


def test_rows_are_drawn_without_replacement_and_depend_on_seed_and_split():
    rows = chosen_rows(1000, 300, 0, "train")
    assert len(np.unique(rows)) == 300 and (np.diff(rows) > 0).all() and rows.max() < 1000
    assert (chosen_rows(1000, 300, 0, "train") == rows).all()
    assert (chosen_rows(1000, 300, 1, "train") != rows).any() and (chosen_rows(1000, 300, 0, "val") != rows).any()
    np.testing.assert_array_equal(chosen_rows(50, 300, 0, "train"), np.arange(50))


def told(found: Path, before: float, after: float) -> Probe:
    """The probe with other accuracies at the feature."""
    probe = read_probe(found)
    readouts = (replace(one, before=before, after=after) if one.layer == "feature" else one for one in probe.readouts)
    return replace(probe, readouts=tuple(readouts))


def test_the_table_has_the_feature_before_and_after_and_chance(found: Path, tmp_path: Path):
    probe = told(found, 0.125, 0.75)
    other = replace(probe, values={"first": 10}, backbone=replace(probe.backbone, pretraining=None))
    assert decodability_table([probe, other]) == [
        "| trained on | first | second |",
        "| --- | ---: | ---: |",
        "| multi-digits, simclr, scale=2 | 12.5 → 75.0 | 12.5 → 75.0 |",
        "| initial | 12.5 → 75.0 | – |",
        "| chance | 10.0 | 10.0 |",
    ]
    write_probe(probe, tmp_path / "mine" / "a.json")
    assert len(decodability_part("results/*.json", tmp_path / "mine")) == 4
    with pytest.raises(UserError, match="no file matches"):
        decodability_part("results/*.txt", tmp_path / "mine")


def test_supervised_training_is_not_named_and_numbers_are_short(found: Path):
    seen = replace(SEEN, recipe="supervised", dataset_parameters={"label": "shape", "correlation": 0.5})
    probe = read_probe(found)
    assert training_of(replace(probe, backbone=replace(probe.backbone, pretraining=seen))) == (
        "multi-digits, label=shape, correlation=0.5"
    )


@pytest.mark.parametrize(("count", "form", "start"), [(1, "svg", b"<?xml"), (5, "png", b"\x89PNG")])
def test_the_figure_is_the_same_each_time_and_names_what_it_shows(found: Path, count: int, form: str, start: bytes):
    probes = count * [read_probe(found)]
    drawn = draw_decodability(probes, form)
    assert drawn.startswith(start) and drawn == draw_decodability(probes, form)
    if form == "svg":
        text = drawn.decode()
        assert all(word in text for word in ("multi-digits", "first", "second", "before", "chance", "feature"))


def test_the_figure_is_written_where_results_are(found: Path, bench: Callable[..., str], tmp_path: Path):
    out = bench("plot", "decodability", found, "--results", tmp_path)
    assert Path(out.strip()) == tmp_path / "figures" / "decodability.svg" and Path(out.strip()).is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "cifar-fs"], "cifar-fs: its images have no attributes"),
        (["--set", "lable=shape"], "lable"),
        (["--set", "recipe.x=1"], "--set recipe.x: say whose it is"),
        (["--images", "3"], "--images 3"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors: no such file"),
    ],
)
def test_what_cannot_be_probed_is_said_in_one_line(words: list[str], message: str):
    done = CliRunner().invoke(app, ["probe", *words])
    assert isinstance(done.exception, UserError)
    assert re.search(message, str(done.exception))


def test_a_dataset_without_attributes_is_named(tiny: str, tiny_weights: Path):
    done = CliRunner().invoke(app, ["probe", "--dataset", tiny, "--weights", str(tiny_weights), "--device", "cpu"])
    assert isinstance(done.exception, UserError) and "tiny: its images have no attributes" in str(done.exception)


@pytest.mark.parametrize("content", ["{}", "[1", json.dumps({"dataset": 3})])
def test_a_file_that_is_no_probe_is_named(tmp_path: Path, content: str):
    (tmp_path / "other.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"other.json is no result of bench probe"):
        read_probe(tmp_path / "other.json")
