"""`bench train --seeds`, and what `bench compare` says of the trainings."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbench.benchmark.backbones.weights.checkpoint import read_description
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.records.store import load_record


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def quick(tiny: str) -> list[str]:
    return [
        *(
            "train",
            "--method",
            "protonet",
            "--dataset",
            tiny,
            "--ways",
            "4",
            "--queries",
            "3",
            "--steps",
            "4",
            "--device",
            "cpu",
        ),
        *("--validate-every", "2", "--val-episodes", "20", "--set", "backbone.width=8"),
    ]


def test_each_seed_has_a_file_and_compare_says_how_far_they_are_apart(quick: list[str], tiny: str, tmp_path: Path):
    output = tmp_path / "proto.safetensors"
    done = bench(*quick, "--output", output, "--seed", 3, "--seeds", 3)
    assert done.exit_code == 0, done.output
    files = [tmp_path / f"proto-seed{seed}.safetensors" for seed in (3, 4, 5)]
    assert [line for line in done.stdout.splitlines() if line.endswith(".safetensors")] == list(map(str, files))
    histories = [read_description(file).pretraining for file in files]  # pyright: ignore[reportOptionalMemberAccess]
    assert [one.seed for one in histories] == [3, 4, 5] and len({one.options_sha256 for one in histories}) == 1

    before = [file.read_bytes() for file in files]
    files[1].unlink()
    assert bench(*quick, "--output", output, "--seed", 3, "--seeds", 3).exit_code == 0  # the one that is missing
    assert [file.read_bytes() for file in (files[0], files[2])] == [before[0], before[2]]
    other = tmp_path / "other.safetensors"
    assert bench(*quick, "--output", other, "--seed", 3, "--learning-rate", "0.01").exit_code == 0
    assert read_description(other).pretraining.options_sha256 != histories[0].options_sha256  # pyright: ignore

    for file in files:
        words = ["--dataset", tiny, "--checkpoint", file, "--episodes", 64, "--queries", 5, "--device", "cpu"]
        assert bench("run", *words, "--results", tmp_path).exit_code == 0
    records = sorted(tmp_path.glob("records/**/*.json"))
    shown = bench("compare", *records).stdout.split("\n\n")[-1].splitlines()
    assert "accuracy % over trainings ± 95 % interval" in shown[0]
    assert " 3, 4, 5 " in shown[1]
    mean = np.mean([load_record(path).mean for path in records])
    assert f" {100 * mean:.2f} ± " in shown[1]
    plotted = bench("compare", *records, "--plot", tmp_path / "ranks.pdf")
    assert str(plotted.exception) == f"--plot {tmp_path / 'ranks.pdf'}: end the name in .svg or .png"
