"""What a user says twice: all of it is heeded, or the command says that it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

LISTS = {
    "--seed 1 --seed 2,3": ["seed 1", "seed 2", "seed 3"],
    "--split test --split val": ["test split", "val split"],
    "--queries 5 --queries 7": ["5 queries", "7 queries"],
    "--method protonet --method ridge": ["protonet", "ridge"],
    "--shots 1,1 --shots 1": ["1-shot"],
    "--label-noise 0,0.2 --noise-kind pair": ["seed 0", "0.2"],
}
REFUSED = {
    "--method simpleshot --set transform=un --set transform=l2n": "--set transform=un and transform=l2n: take one of them",
    "--set noise=5 --set dataset.noise=6": "--set noise=5 and dataset.noise=6: take one of them",
    "--sampler semantic --alpha 1 --set sampler.alpha=2": "--alpha 1.0 and --set sampler.alpha=2: take one of them",
    "--norm group --set backbone.norm=layer": "--norm group and --set backbone.norm=layer: take one of them",
    "--sampler meta-dataset --ways 3": "--sampler meta-dataset says ways itself; leave --ways out",
    "--testbed t.csv --shots 3": "--testbed t.csv says shots itself; leave --shots out",
    "--testbed t.csv --set sampler.alpha=1": "--testbed t.csv draws nothing; leave --set sampler.alpha out",
    "--testbed t.csv --sampler semantic": "--testbed t.csv says sampler itself; leave --sampler out",
}


@pytest.mark.parametrize("options", LISTS)
def test_an_option_that_is_repeated_has_all_its_values(options: str, bench, tiny: str, tiny_weights: Path):
    done = bench("run", "--dataset", tiny, "--weights", tiny_weights, *options.split(), "--dry-run")
    rows = done.output.splitlines()[1:]
    assert len(rows) == len(LISTS[options])
    assert all(said in row for said, row in zip(LISTS[options], rows, strict=True))


@pytest.mark.parametrize("options", REFUSED)
def test_two_values_of_one_thing_are_refused(options: str, bench, tiny: str, tiny_weights: Path):
    done = bench("run", "--dataset", tiny, "--weights", tiny_weights, *options.split(), "--dry-run")
    assert done.code == 2 and done.message == f"error: {REFUSED[options]}"


def test_the_same_value_twice_is_one(bench, tiny: str, tiny_weights: Path):
    options = "--method simpleshot --set transform=un --set transform=un"
    done = bench("run", "--dataset", tiny, "--weights", tiny_weights, *options.split(), "--dry-run")
    assert len(done.output.splitlines()) == 2
