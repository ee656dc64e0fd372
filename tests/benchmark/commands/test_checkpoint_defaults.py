"""`bench run --checkpoint FILE`: what the file brings, and what is said where something else is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark.backbones.weights.checkpoint import read_checkpoint, write_checkpoint
from fewbench.benchmark.backbones.weights.description import MadeBy
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.benchmark.training import plan
from fewbench.benchmark.training.meta.meta_training import meta_train
from fewbench.benchmark.training.meta.train_config import TrainConfig
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT


@pytest.fixture(scope="module")
def config(tiny: str) -> TrainConfig:
    settings = {"backbone.width": 8}
    return TrainConfig(
        "maml", tiny, ways=4, val_ways=4, shots=2, queries=3, steps=4, validate_every=2, val_episodes=20, settings=settings
    )


@pytest.fixture(scope="module")
def trained(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meta_train(config, tmp_path_factory.mktemp("trained") / "trained.safetensors", SILENT)


def dry_run(checkpoint: Path, *more: str):
    result = CliRunner().invoke(app, ["run", "--checkpoint", str(checkpoint), "--queries", "3", "--dry-run", *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_checkpoint_brings_method_dataset_ways_and_shots(trained: Path):
    done = dry_run(trained)
    assert "maml " in done.stdout and "tiny.py:Tiny, 4-way 2-shot, 3 queries, uniform sampler, test split" in done.stdout
    assert "checkpoint" not in done.stderr


def test_what_is_asked_for_instead_is_said_in_one_line(trained: Path, tiny: str):
    done = dry_run(trained, "--shots", "1", "--dataset", tiny)
    assert "4-way 1-shot" in done.stdout
    assert done.stderr.splitlines() == ["checkpoint trained.safetensors is of shots 2; this run is of shots 1"]
    several = dry_run(trained, "--shots", "1,2")
    assert several.stderr.splitlines() == ["checkpoint trained.safetensors is of shots 2; this run is of shots 1,2"]


def test_a_sampler_of_varying_tasks_has_its_own_shape(trained: Path, tmp_path: Path):
    checkpoint = read_checkpoint(trained)
    assert checkpoint.description is not None and checkpoint.description.method is not None
    method = replace(checkpoint.description.method, name="protonet", parameters={})
    write_checkpoint(tmp_path / "w.safetensors", checkpoint.tensors, replace(checkpoint.description, method=method))
    result = CliRunner().invoke(
        app, ["run", "--checkpoint", str(tmp_path / "w.safetensors"), "--sampler", "meta-dataset", "--dry-run"]
    )
    assert "tiny.py:Tiny, meta-dataset sampler (" in result.stdout and "4-way" not in result.stdout


def test_a_checkpoint_that_does_not_say_its_dataset_is_told(trained: Path, tmp_path: Path):
    checkpoint = read_checkpoint(trained)
    assert checkpoint.description is not None
    seen = Pretraining("unknown", "released", external=True)
    about = replace(checkpoint.description, pretraining=seen, made_by=MadeBy())
    write_checkpoint(tmp_path / "w.safetensors", checkpoint.tensors, about)
    done = dry_run(tmp_path / "w.safetensors")
    says = "checkpoint w.safetensors does not say its dataset; this run is of trifeature, --dataset takes another"
    assert done.stderr.splitlines()[0] == says


def test_the_best_state_of_an_unfinished_training_is_named_and_evaluated(
    config: TrainConfig, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(plan, "publish", full)
    output = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="the disk is full"):
        meta_train(config, output, SILENT)
    best = tmp_path / "w.training" / "best.safetensors"
    with pytest.raises(UsageError, match=rf"w\.safetensors: no such file; its training is not finished, {best} is the best"):
        dry_run(output)
    assert "4-way 2-shot" in dry_run(best).stdout
    finished, so_far = (CliRunner().invoke(app, arguments(path, tmp_path)) for path in (trained, best))
    accuracy = [done.stdout.splitlines()[1].split("  ")[-2] for done in (finished, so_far)]
    assert accuracy[0] == accuracy[1]


def arguments(checkpoint: Path, folder: Path) -> list[str]:
    return ["run", "--checkpoint", str(checkpoint), "--queries", "3", "--episodes", "20", "--output", str(folder)]
