import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fewbench.benchmark.classifier.recommending import _episodes
from fewbench.benchmark.commands.main import app
from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.episodes import check_tasks

from .conftest import photo

CONV4 = ("--backbone", "conv4", "--weights", "conv4-trifeature")


def bench(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_says_what_to_take_and_what_to_expect(photos: Path, tmp_path: Path):
    done = bench("recommend", photos, *CONV4, "--figure", tmp_path / "curve.svg")
    assert done.exit_code == 0, done
    for method in ("linear-probe", "matching-net", "protonet", "ridge"):
        assert method in done.stdout
    assert re.search(
        r"^Take [a-z-]+: expect 100.0% right on new photos like these \(73.5% to 100.0%\)", done.stdout, re.MULTILINE
    )
    assert "By photos a class: 1: " in done.stdout and "5: 100.0%" in done.stdout
    assert (tmp_path / "curve.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_it_says_what_a_few_photos_a_class_would_do(photos: Path):
    done = bench("recommend", photos, *CONV4, "--method", "protonet,ridge", "--shots", "2")
    assert re.search(
        r"^Take .*: expect [\d.]+% right on new photos like these with 2 photos a class \(", done.stdout, re.MULTILINE
    )
    error = bench("recommend", photos, *CONV4, "--method", "ridge", "--shots", "50").exception
    assert isinstance(error, UsageError) and "--shots 50: a class has" in str(error)


def test_classes_that_are_mistaken_are_named(tmp_path: Path):
    """Two classes of one colour cannot be told apart, a third can."""
    for number, (name, colour) in enumerate({"left": (90, 90, 90), "right": (90, 90, 90), "green": (20, 200, 20)}.items()):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(8):
            Image.fromarray(photo(colour, 50 * number + seed)).save(tmp_path / "photos" / name / f"{seed}.png")
    done = bench("recommend", tmp_path / "photos", *CONV4, "--method", "protonet,ridge")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Most often mistaken"))
    assert "left for right" in line or "right for left" in line
    assert "green" not in line


def test_too_few_photos_are_one_line(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(3):
            Image.fromarray(photo((99, 99, 99), seed + 3 * (name == "b"))).save(tmp_path / "photos" / name / f"{seed}.png")
    error = bench("recommend", tmp_path / "photos", *CONV4, "--method", "ridge").exception
    assert isinstance(error, UserError) and "6 photos can be held out; a comparison needs 10" in str(error)


@pytest.mark.parametrize(("shots", "queries"), [(1, 5), (4, 2)])
def test_the_curve_draws_tasks_without_a_photo_in_both_roles(shots: int, queries: int):
    rows = [np.arange(10), np.arange(10, 16), np.arange(20, 40)]
    batch = _episodes(rows, shots, queries)
    check_tasks(batch, 40)
    for support, labels, query in zip(batch.support, batch.support_labels, batch.query, strict=True):
        assert len({*support, *query}) == len(support) + len(query)
        assert all(row in rows[label] for row, label in zip(support, labels, strict=True))
    assert torch.equal(torch.from_numpy(batch.support), torch.from_numpy(_episodes(rows, shots, queries).support))
