"""Features that are exported, imported and run on, through the real command; and the examples of docs/features.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.records.store import load_record

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)[1:] for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()
]
(PYTHON,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def record_of(done):
    assert done.code == 0, done.err
    return load_record(Path(done.out.splitlines()[-1]))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_methods_have_the_same_accuracies_on_imported_features(
    suffix, bench_many, tiny, tiny_weights, tiny_run, tmp_path: Path
):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="of the extra testbed")
    export = ["features", "export", "--dataset", tiny, "--weights", tiny_weights, "--device", "cpu"]
    take = ["features", "import", "--dataset", tiny, "--name", f"tiny{suffix}"]
    splits = ("test", "train")
    run = [
        *tiny_run[:1],
        *tiny_run[1:3],
        *tiny_run[5:],
        "--output",
        tmp_path / "results",
        "--backbone",
        f"imported:tiny{suffix}",
    ]
    made = bench_many(
        [
            *(([*export, "--split", split, "--output", f"{split}{suffix}"], tmp_path) for split in splits),
            *(([*take, f"{split}{suffix}"], tmp_path) for split in splits),
        ]
    )
    assert [done.code for done in made] == [0] * 4, [done.err for done in made]
    methods = ("protonet", "simpleshot")  # the second uses the train split
    there = bench_many([([*tiny_run, "--output", tmp_path / "results", "--method", method], tmp_path) for method in methods])
    here = bench_many([([*run, "--method", method], tmp_path) for method in methods])
    for one, other in zip(there, here, strict=True):
        direct, imported = record_of(one), record_of(other)
        assert imported.backbone.name == f"imported:tiny{suffix}" and imported.n_episodes == 200
        assert imported.task.fingerprint == direct.task.fingerprint
        assert imported.backbone.pretraining == direct.backbone.pretraining
        assert imported.content["backbone"]["imported"]["weights_sha256"] == direct.backbone.weights_sha256
        np.testing.assert_array_equal(imported.accuracies, direct.accuracies)
    (again,) = bench_many([([*run, "--method", "protonet"], tmp_path)])
    assert again.code == 0 and "nothing was run" in again.err


def test_bad_files_and_names_end_in_one_line(bench_many, tiny, tmp_path: Path):
    np.savez(tmp_path / "anything.npz", features=np.zeros((360, 3)))
    np.savez(tmp_path / "few.npz", features=np.zeros((359, 3)), fingerprint="0")
    take = ["features", "import", "--dataset", tiny, "--split", "test"]
    cases = {
        "neither": ([*take, "anything.npz", "--name", "bad"], 1, "no fingerprint says which images these are"),
        "other": ([*take, "few.npz", "--name", "bad"], 1, "made from other images than the test split of tiny"),
        "outside": ([*take, "few.npz", "--name", "../../bad"], 2, "cannot name imported features"),
        "absent": ([*take, "none.npz", "--name", "bad"], 1, "cannot read"),
        "suffix": ([*take, "none.pt", "--name", "bad"], 2, "a file of features ends in"),
        "export": (["features", "export", "--dataset", tiny, "--output", "a.pt"], 2, "a file of features ends in"),
        "scope": (
            [*take, "few.npz", "--name", "bad", "--set", "backbone.noise=3"],
            2,
            "--set backbone.noise: this takes dataset.name alone",
        ),
        "prompts": (
            ["features", "export", "--dataset", tiny, "--output", "a.parquet", "--prompts", "single"],
            2,
            "no place for text features",
        ),
        "show": (["show", "backbone", "imported:bad"], 2, "features without a network, and this needs one"),
        "pretrain": (["pretrain", "--dataset", tiny, "--backbone", "imported:bad"], 2, "features without a network"),
    }
    done = bench_many([(arguments, tmp_path) for arguments, _, _ in cases.values()])
    for (_, code, message), one in zip(cases.values(), done, strict=True):
        assert message in one.error and one.code == code, one.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anything.npz", "few.npz"]


def test_the_examples_of_the_page(bench_here, small_datasets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    export, take, run, listing, template, take_other = COMMANDS
    few = ["--episodes", "100", "--device", "cpu"]
    made = [bench_here(*words) for words in (export, take, [*run, *few], ["run", "--shots", "1,5", *few], template)]
    assert [done.code for done in made] == [0] * 5, [done.err for done in made]
    paths = [map(Path, done.out.splitlines()[-2:]) for done in made[2:4]]
    for imported, direct in zip(*paths, strict=True):
        np.testing.assert_array_equal(load_record(imported).accuracies, load_record(direct).accuracies)
    exec(PYTHON, {"encode": lambda source: np.array([source.count(letter) for letter in "aeiou"], dtype=float)})
    other, listed, episode = (
        bench_here(*words) for words in (take_other, listing, ["run", "--backbone", "imported:other", *few])
    )
    assert other.code == listed.code == episode.code == 0, other.err + listed.err + episode.err
    rows = [line.split() for line in listed.out.splitlines() if "trifeature" in line]
    assert [row[:6] for row in rows] == [
        ["mine", "trifeature", "test", "480", "256", "float32"],
        ["other", "trifeature", "test", "480", "5", "float16"],
    ]
    mean = load_record(Path(episode.out.splitlines()[-1])).mean
    assert mean is not None and mean > 0.4  # the vowels of the class's name tell classes apart, if rows are the right ones


def test_zero_shot_runs_on_imported_text_features(
    bench_here, small_datasets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    few = ["--method", "clip-zero-shot", "--episodes", "100", "--device", "cpu"]
    export, take, direct, imported, other = (
        bench_here(*words)
        for words in (
            ["features", "export", "--dataset", "trifeature", "--backbone", "clip-tiny", "--output", "clip.npz"],
            ["features", "import", "clip.npz", "--dataset", "trifeature", "--name", "clip"],
            ["run", *few],
            ["run", *few, "--backbone", "imported:clip"],
            ["run", *few, "--backbone", "imported:clip", "--prompts", "ensemble"],
        )
    )
    assert [done.code for done in (export, take, direct, imported)] == [0] * 4, (
        export.err + take.err + direct.err + imported.err
    )
    records = [load_record(Path(done.out.splitlines()[-1])) for done in (direct, imported)]
    np.testing.assert_array_equal(records[0].accuracies, records[1].accuracies)
    assert other.code == 1 and "no text features of the prompts 'ensemble', only of \"a photo of a {}.\"" in other.error
