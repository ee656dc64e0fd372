"""Numbers and lists that pages state are those that commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.registry import find, load
from fewbench.benchmark.training.meta.train_config import OF_THE_PAPER

from .conftest import flowing


@pytest.mark.parametrize(
    ("claim", "drawn"),
    [
        (r"\(here a mean of ([\d.]+)\)", "--tasks 1000"),
        (r"5,000 tasks have a mean coarsity of ([\d.]+);", "--dataset tiered-imagenet"),
        (r"uniformly drawn ones \(`--alpha 0`\) it is ([\d.]+)\.", "--dataset tiered-imagenet --alpha 0"),
        (r"is ([\d.]+) for 500 tasks", "--dataset mini-imagenet --tasks 500"),
        (r"([\d.]+) for 5,000 and", "--dataset mini-imagenet"),
        (r"and ([\d.]+) for 10,000", "--dataset mini-imagenet --tasks 10000"),
        (r"against ([\d.]+) for uniform", "--dataset mini-imagenet --tasks 10000 --alpha 0 --beta 0"),
    ],
)
def test_the_coarsities_of_the_page(bench_here, claim: str, drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    options = shlex.split(drawn)
    dataset = options[:2] if "--dataset" in options else []
    assert bench_here("testbed", "make", "drawn.csv", "--classes-only", *options).code == 0
    found = re.search(r"coarsity +mean ([\d.]+)", bench_here("testbed", "show", "drawn.csv", *dataset).out)
    said = re.search(claim, flowing("semantic.md"))
    assert found is not None and said is not None
    decimals = len(said[1].partition(".")[2])
    assert f"{float(found[1]):.{decimals}f}" == said[1]


def test_the_operations_of_the_networks(bench_here):
    costs = r"costs (\d+) million FLOPs \(`(bench show [^`]+)`\), \w+ times a conv4's (\d+) million"
    said = re.search(costs + r"; with `backbone\.([^`]+)` it is (\d+)", flowing("backbones.md"))
    assert said is not None
    vit, show, conv4, patch, smaller = said.groups()
    words = shlex.split(show)[1:]
    for number, shown in (
        (vit, words),
        (conv4, ["show", "backbone", "conv4", "--set", "size=32"]),
        (smaller, [*words, "--set", patch]),
    ):
        operations = re.search(r"FLOPs of such an image: ([\d,]+)", bench_here(*shown).out)
        assert operations and round(int(operations[1].replace(",", "")) / 1e6) == int(number)


def test_the_methods_that_can_be_trained():
    page = flowing("training.md")
    said = re.search(r"These methods can be trained: (.*?) and (\S+)\. ", page)
    assert said is not None
    named = {word.partition(" (")[0] for word in [*said[1].split(", "), said[2]]}
    can = {name for name in BUILT_IN["methods"] if ":" not in name and load(find("methods", name)).meta_trained}  # type: ignore[attr-defined]
    assert named == can
    assert f"`--steps` is {OF_THE_PAPER['steps']:,} for all" in page
