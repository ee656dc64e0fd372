"""What is no regular file, wherever a command takes a path: named, and never waited for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

RECORDS = Path(__file__).parents[2] / "results" / "records" / "trifeature"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nothing")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


KINDS = (pipe, device, dangling, circle, folder)
FEW = ("--shots", "1", "--queries", "3", "--episodes", "4", "--device", "cpu")


def read_by(tiny: str, weights: Path, path: str) -> dict[str, tuple[str, ...]]:
    """Commands that read a file, by the suffix that its name has."""
    run = ("run", "--method", "protonet", "--dataset", tiny, "--weights", str(weights), *FEW)
    text = ("run", "--method", "clip-zero-shot", "--dataset", tiny, *FEW)
    return {
        "config.toml": ("run", "--config", path),
        "pipeline.toml": ("pipeline", "protonet", "--config", path),
        "weights.safetensors": ("run", "--dataset", tiny, "--weights", path, *FEW),
        "weights.pt": ("run", "--dataset", tiny, "--weights", path, *FEW),
        "checkpoint.safetensors": ("run", "--dataset", tiny, "--checkpoint", path, *FEW),
        "testbed.csv": (*run, "--testbed", path),
        "shown.csv": ("testbed", "show", path),
        "shown.parquet": ("testbed", "show", path),
        "prompts.txt": (*text, "--prompts", path),
        "names.csv": (*text, "--class-names", path),
        "distances.csv": (*run, "--sampler", "semantic", "--set", f"sampler.distances={path}"),
        "photos": ("data", "prepare", "folder", "--from", path),
        "photos.csv": ("data", "prepare", "folder", "--from", path),
        "photos.zip": ("data", "prepare", "folder", "--from", path),
        "photos.tar": ("data", "prepare", "folder", "--from", path),
        "mini.zip": ("data", "prepare", "mini-imagenet", "--from", path),
        "features.npz": ("features", "import", path, "--dataset", tiny, "--split", "test", "--name", "mine"),
        "method.py": ("run", "--method", f"{path}:Mine", "--dataset", tiny, *FEW),
        "record.json": ("show", path),
        "compared.json": ("compare", path, path),
        "replayed.json": ("plot", "episode", "--index", "0", "--output", "e.png", "--record", path),
        "published.pth": ("convert-weights", "--layout", "maml", path, "--output", "converted.safetensors"),
        "table.md": ("table", path),
    }


CASES = tuple(read_by("", Path(), ""))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", CASES)
def test_what_a_command_reads(name: str, kind: Callable[[Path], None], bench, tiny, tiny_weights, tmp_path, monkeypatch):
    if (name, kind) == ("photos", folder):
        pytest.skip("a folder is what is wanted")
    monkeypatch.chdir(tmp_path)
    kind(tmp_path / name)
    done = bench(*read_by(tiny, tiny_weights, name)[name])
    place = {"device": "/dev/zero", "dangling": "nothing"}.get(kind.__name__, name)  # a message may name where a link leads
    assert name in done.message or (name.startswith("photos") and place in done.message)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", [None, *KINDS], ids=lambda kind: kind.__name__ if kind else "nothing")
@pytest.mark.parametrize("command", ["prepare", "run", "dry run", "prepared before"])
def test_a_table_of_parents(command: str, kind: Callable[[Path], None] | None, bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(10):
        (tmp_path / "photos" / f"c{number // 5}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(tmp_path / "photos" / f"c{number // 5}" / f"{number}.png")
    prepare = ("data", "prepare", "folder", "--set", "root=photos")
    run = ("run", "--dataset", "folder", "--set", "dataset.root=photos", "--ways", "2", "--weights", "conv4-trifeature", *FEW)
    if kind is not None:
        kind(tmp_path / "parents.csv")
    if command == "prepared before":
        assert bench(*prepare).code == 0
    done = {
        "prepare": lambda: bench(*prepare, "--set", "parents=parents.csv"),
        "prepared before": lambda: bench(*prepare, "--set", "parents=parents.csv"),
        "run": lambda: bench(*run, "--set", "dataset.parents=parents.csv"),
        "dry run": lambda: bench(*run, "--set", "dataset.parents=parents.csv", "--dry-run"),
    }[command]()
    place = {"device": "/dev/zero", "dangling": "nothing"}.get(kind.__name__, "") if kind else ""
    assert "parents.csv" in done.message or (place and place in done.message)


def boards(bench, tmp_path: Path) -> tuple[str, str]:
    """A leaderboard of the records in a folder, and what is said beside it."""
    done = bench("leaderboard", "--results", tmp_path / "R", "--output", tmp_path / "lb.md")
    assert done.code == 0, done.error
    return (tmp_path / "lb.md").read_text(), done.error


@pytest.mark.parametrize("kind", (*KINDS[:4],), ids=lambda kind: kind.__name__)
def test_what_lies_among_records(kind: Callable[[Path], None], bench, tmp_path: Path):
    target = tmp_path / "R" / "records" / "trifeature" / "t"
    target.mkdir(parents=True)
    for path in sorted(RECORDS.rglob("*.json"))[:2]:
        shutil.copy(path, target)
    expected, _ = boards(bench, tmp_path)
    kind(target / "x.json")
    found, said = boards(bench, tmp_path)
    assert found == expected and "x.json" in said
    assert "x.json" in bench("list", "results", "--results", tmp_path / "R").error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["lb.md", "t.csv", "f.npz"])
def test_what_a_command_writes(name: str, kind: Callable[[Path], None], bench, tiny, tiny_weights, tmp_path: Path):
    (tmp_path / "R" / "records").mkdir(parents=True)
    command = {
        "lb.md": ("leaderboard", "--results", tmp_path / "R", "--output"),
        "t.csv": ("features", "template", "--dataset", tiny, "--output"),
        "f.npz": ("features", "export", "--dataset", tiny, "--weights", tiny_weights, "--device", "cpu", "--output"),
    }[name]
    path = tmp_path / name
    kind(path)
    done = bench(*command, path)
    if kind in (dangling, circle):
        assert done.code == 0 and path.is_file() and not path.is_symlink()  # a link is replaced
    else:
        assert name in done.message
        assert path.is_symlink() or not path.is_file()
    assert not list(tmp_path.glob(".fewbench*"))


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: kind.__name__)
def test_what_stands_in_the_place_of_the_results(kind: Callable[[Path], None], bench, tiny, tiny_weights, tmp_path: Path):
    kind(tmp_path / "results")
    run = ("run", "--method", "protonet", "--dataset", tiny, "--weights", tiny_weights, *FEW)
    assert "results" in bench(*run, "--output", tmp_path / "results").message
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_stands_in_the_place_of_a_record(kind: Callable[[Path], None], bench, tiny, tiny_weights, tmp_path: Path):
    run = ("run", "--method", "protonet", "--dataset", tiny, "--weights", tiny_weights, *FEW, "--output", tmp_path / "R")
    assert bench(*run).code == 0
    (record,) = (tmp_path / "R").rglob("*.json")
    record.unlink()
    kind(record)
    done = bench(*run)
    if kind in (dangling, circle):
        assert done.code == 0 and record.is_file() and not record.is_symlink()
    else:
        assert record.name in done.message


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: kind.__name__)
def test_what_stands_in_the_place_of_a_training(kind: Callable[[Path], None], bench, tiny, tmp_path: Path):
    kind(tmp_path / "trained.safetensors")
    train = ("train", "--method", "protonet", "--dataset", tiny, "--steps", "2", "--set", "backbone.width=4", "--device", "cpu")
    small = ("--ways", "2", "--shots", "1", "--queries", "1", "--val-ways", "2", "--val-episodes", "2")
    done = bench(*train, *small, "--output", tmp_path / "trained.safetensors")
    if kind in (dangling, circle):
        assert done.code == 0 and not (tmp_path / "trained.safetensors").is_symlink()
    else:
        assert "trained.safetensors" in done.message
