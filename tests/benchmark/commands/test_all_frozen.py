"""`bench run --method all-frozen`: every method that needs only features of a frozen backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark import registry
from fewbench.benchmark.commands.main import app

ARGUMENTS = ["--ways", "3", "--queries", "3", "--episodes", "4"]


def test_the_methods_are_those_that_need_features_alone():
    names = registry.all_frozen()
    assert names == sorted(names)
    assert {"protonet", "pt-map", "simpleshot", "finetune", "svm", "distribution-calibration"} <= set(names)
    assert not {"maml", "pmf", "coop", "tip-adapter", "relation-net", "sklearn:NAME"} & set(names)


@pytest.mark.parametrize("chosen", ["all-frozen", "protonet,all-frozen"])
def test_the_name_stands_for_all_of_them(tiny: str, tiny_weights: Path, chosen: str):
    done = CliRunner().invoke(
        app, ["run", "--dataset", tiny, "--weights", str(tiny_weights), "--method", chosen, *ARGUMENTS, "--dry-run"]
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in registry.all_frozen())


def test_all_of_them_run(tiny: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    quick = ["protonet", "svm", "tim"]
    monkeypatch.setattr(registry, "all_frozen", lambda: quick)
    arguments = [
        "run",
        "--dataset",
        tiny,
        "--weights",
        str(tiny_weights),
        "--method",
        "all-frozen",
        *ARGUMENTS,
        "--results",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name.split("-conv4")[0] for path in tmp_path.rglob("*.json")) == quick
