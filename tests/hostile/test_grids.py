"""Grids that must fail: `--dry-run` says so in the line of the real run, and of neither is anything left."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

PLUGIN = '''
from dataclasses import dataclass

import torch

from fewbench.methods.base import Method, parameter
from fewbench.tasks.datasets.base import Dataset
from fewbench.tasks.samplers import UniformSampler


def broken(value):
    return {}[value]


@dataclass(frozen=True)
class NeedsTraining(Method):
    """Is nothing without training."""

    needs_training = True

    def classify(self, episodes):
        raise NotImplementedError


@dataclass(frozen=True)
class FailsOnFiveShots(Method):
    """Fails in the second run of a grid alone."""

    def classify(self, episodes):
        if episodes.support.shape[1] == 25:
            broken("five")
        return torch.zeros(len(episodes), episodes.query.shape[1], episodes.ways)


@dataclass(frozen=True)
class NoSupport(UniformSampler):
    """Gives one class no support."""

    def draw_chunk(self, start, stop):
        drawn = super().draw_chunk(start, stop)
        labels = drawn.support_labels.copy()
        labels[labels == 1] = -1
        return type(drawn)(drawn.support, labels, drawn.query, drawn.query_labels, drawn.classes, drawn.index)


@dataclass(frozen=True)
class BrokenSampler(UniformSampler):
    """Raises an error."""

    def draw_chunk(self, start, stop):
        return broken("rows")


@dataclass(frozen=True)
class BrokenDataset(Dataset):
    """Raises an error."""

    name = version = citation = licence = homepage = "broken"

    def class_list(self, split):
        return broken(split)

    def contents(self, split, source, progress):
        raise NotImplementedError
'''
CHECKPOINTS = Path(__file__).parents[2] / "results" / "checkpoints"
TESTBED = "task,variance,labels,image_id,support\n"
TESTBEDS = {
    "one-class.csv": "0,1,0,0,True\n0,1,0,1,False\n",
    "no-query.csv": "0,1,0,0,True\n0,1,1,30,True\n",
    "no-support.csv": "0,1,0,0,True\n0,1,0,1,False\n0,1,1,30,False\n",
    "beyond.csv": "0,1,0,0,True\n0,1,11,9999,True\n0,1,0,1,False\n",
    "other-class.csv": "0,1,0,0,True\n0,1,1,2,True\n0,1,0,1,False\n",
    "classes.csv": "",
}
TINY, SHAPELESS, OF_PHOTOS = "TINY", "SHAPELESS", "PHOTOS"  # the arguments of these datasets; without --queries

# What is asked for, and what the line says. Every grid has a run that is possible, first.
GRIDS = [
    (f"{TINY} --method protonet,simpleshot,nosuch", "unknown method 'nosuch'"),
    (f"{TINY} --method linear-probe,baseline --set C=1", "method baseline has no parameter 'C'"),
    (f"{TINY} --method protonet,baseline --set epochs=3", "method protonet has no parameter 'epochs'"),
    (f"{TINY} --method protonet,relation-net", "method relation-net has to be trained: bench train"),
    (f"{TINY} --method protonet,PLUGIN:NeedsTraining", "NeedsTraining has to be trained"),
    (f"{TINY} --method protonet,PLUGIN:Gone", "no class 'Gone'"),
    (f"{TINY} --method protonet,gone.py:Gone", "file gone.py does not exist"),
    (f"{TINY} --backbone conv4 --method protonet,clip-zero-shot", "backbone Conv4 has no text tower"),
    (f"{TINY} --method protonet,coop", "belong to backbone conv4, not clip-tiny"),
    (f"{TINY} --method protonet,sklearn:linear_model.Nothing", "no scikit-learn class"),
    ("--dataset trifeature --queries 5 --checkpoint MAML --ways 5,10", "--ways 10: method maml learned a classifier of fewer"),
    (f"{TINY} --method protonet,linear-probe --split val", "C=auto is chosen on val episodes, .* --set C=1$"),
    (f"{TINY} --method finetune,protonet --tune full", "--tune full: protonet trains nothing"),
    (f"{TINY} --method finetune --tune head,nosuch", "nosuch"),
    (f"{TINY} --method finetune --tune head,prompt", "prompt"),
    (f"{TINY} --method protonet --ways 5,13", "--ways 13: this split has only 12 classes"),
    (f"{TINY} --method protonet --ways 5,1", "--ways 1: at least 2"),
    (f"{TINY} --method protonet --shots 1,26", "--shots 26 and --queries 5 need 31 images a class"),
    (f"{TINY} --method protonet --shots 1,0", "--shots 0: at least 1"),
    (f"{TINY} --method protonet --shots 1,many", "--shots many: not a whole number"),
    (f"{TINY} --method protonet --queries 31", "--queries 31 need 32 images a class"),
    (f"{TINY} --method protonet,chance --sampler semantic", "has no class taxonomy"),
    (f"{TINY} --method protonet,chance --sampler nosuch", "unknown sampler 'nosuch'"),
    (f"{TINY} --method protonet,chance --set sampler.nosuch=1", "sampler uniform has no parameter 'nosuch'"),
    (f"{SHAPELESS} --method protonet,chance --sampler meta-dataset --set sampler.max_ways=2", "max_ways=2: at least 5"),
    (f"{TINY} --method protonet,chance --sampler PLUGIN:NoSupport", "^task 0 has queries of class 0|and no support of it$"),
    (f"{TINY} --method protonet,chance --sampler PLUGIN:BrokenSampler", r"KeyError: 'rows' \(plugin\.py, line \d+\)$"),
    (f"{SHAPELESS} --method protonet,chance --testbed one-class.csv", "task 0 has fewer than two classes"),
    (f"{SHAPELESS} --method protonet,chance --testbed no-query.csv", "task 0 has no query"),
    (f"{SHAPELESS} --method protonet,chance --testbed no-support.csv", "task 0 has queries of class 1 and no support of it"),
    (f"{SHAPELESS} --method protonet,chance --testbed beyond.csv", "image 9999 is not of class 11 here"),
    (f"{SHAPELESS} --method protonet,chance --testbed other-class.csv", "image 2 is not of class 1 here"),
    (f"{SHAPELESS} --method protonet,chance --testbed classes.csv", "it lists classes only"),
    (f"{SHAPELESS} --method protonet,chance --testbed gone.csv", "gone.csv"),
    (f"{TINY} --method protonet,chance --corruption noise --severity 1,9", "severity"),
    (f"{TINY} --method protonet,chance --precision fp16", "--precision fp16: CPUs"),
    (f"{TINY} --method protonet,maml --batch-size 4", "maml"),
    (f"{TINY} --method protonet --weights gone.pth", "--weights gone.pth: no such file"),
    (f"{TINY} --method protonet,chance --set backbone.nosuch=1", "nosuch"),
    (f"{TINY} --method protonet,chance --output plugin.py", "plugin.py is a file"),
    (f"{TINY} --method protonet --prompts single,ensemble", "2 of 2 runs cannot start; nothing was run"),
    (f"{OF_PHOTOS} --method protonet,ridge,simpleshot", "method simpleshot needs the mean feature of the train split: .*=0.6"),
    (f"{OF_PHOTOS} --method protonet,linear-probe", "method linear-probe chooses C on val episodes: .*; or set it: --set C=1$"),
    (f"{OF_PHOTOS} --method protonet --shots 1,9", "--shots 9 and --queries 3 need 12 images a class"),
    (f"{OF_PHOTOS} --method protonet,chance --split val", "no class is in the split val"),
    (f"{OF_PHOTOS} --method protonet,chance --split nosuch", "unknown split 'nosuch'"),
    ("--dataset PLUGIN:BrokenDataset --method protonet,chance", r"KeyError: 'test' \(plugin\.py, line \d+\)$"),
    ("--dataset mini-imagenet --method protonet,chance", "mini-imagenet"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six classes of eight pictures, without a class split."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in range(6):
        (root / f"c{label}").mkdir()
        for number in range(8):
            pixels = random.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"c{label}" / f"{number}.png")
    return root


@pytest.fixture
def here(tmp_path: Path, tiny: str, tiny_weights: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the words in capitals stand for; the files that grids name are in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.py").write_text(PLUGIN)
    for name, rows in TESTBEDS.items():
        (tmp_path / name).write_text((TESTBED if rows else "task,variance,labels\n0,1,0\n0,1,1\n") + rows)
    return {
        "TINY": f"--dataset {tiny} --weights {tiny_weights} --queries 5",
        "SHAPELESS": f"--dataset {tiny} --weights {tiny_weights}",
        "PHOTOS": f"--dataset folder --set dataset.root={photos} --weights {tiny_weights} --queries 3",
        "PLUGIN": "plugin.py",
        "MAML": str(CHECKPOINTS / "maml-omniglot.safetensors"),
    }


@pytest.mark.parametrize(("grid", "says"), GRIDS, ids=[grid for grid, _ in GRIDS])
def test_a_dry_run_says_what_the_real_run_says(bench, here: dict[str, str], tmp_path: Path, grid: str, says: str):
    for word, meaning in here.items():
        grid = grid.replace(word, meaning)
    arguments = ["run", "--episodes", "20", "--device", "cpu", *grid.split()]
    dry, real = bench(*arguments, "--dry-run"), bench(*arguments)
    assert (dry.code, dry.message, dry.output) == (real.code, real.message, "")
    assert re.search(says, dry.message.removeprefix("error: ")), dry.message
    assert not [*tmp_path.rglob("*.json")]


OF_PLUGIN = r"KeyError: 'five' \(plugin\.py, line 12\)"


def test_a_run_that_fails_later_fails_alone(bench, here: dict[str, str], tmp_path: Path):
    grid = ["--method", "plugin.py:FailsOnFiveShots,protonet", "--shots", "1,5", "--episodes", "20", "--device", "cpu"]
    done = bench("run", *grid, *here["TINY"].split(), "-v")
    assert done.code == 1 and done.message == "error: 1 of 4 runs failed"
    assert re.search(
        rf"^failed: plugin\.py:FailsOnFiveShots, conv4 .*, 5-way 5-shot, .*: .*{OF_PLUGIN}$", done.error, re.MULTILINE
    )
    assert re.search(r'^  File ".*plugin.py", line \d+, in classify\n    broken\("five"\)$', done.error, re.MULTILINE)
    paths = [line for line in done.output.splitlines() if line.endswith(".json")]
    assert len(paths) == 3 and all((tmp_path / path).is_file() for path in paths)


def test_one_run_that_fails_has_its_own_line(bench, here: dict[str, str]):
    done = bench("run", "--method", "plugin.py:FailsOnFiveShots", "--shots", "5", "--episodes", "20", *here["TINY"].split())
    assert done.code == 1 and done.output == "" and "classify" not in done.error
    assert re.search(f"^error: method plugin.py:FailsOnFiveShots failed in episodes 0 to 19: {OF_PLUGIN}$", done.message)


@pytest.mark.parametrize(
    "grid",
    [
        "finetune --tune head,norm,last-block",
        "finetune,plugin.py:FailsOnFiveShots --weights TINY,other.safetensors --set backbone.width=8",
        "protonet --shots 1,5 --seed 0,1 --split val,test",
        "protonet --corruption noise,blur --severity 1,2",
    ],
)
def test_the_runs_of_a_grid_are_told_apart(grid: str, bench, here, tiny: str, tiny_weights: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / tiny_weights.name  # another file of the same name
    save_file({name: tensor * 2 for name, tensor in load_file(tiny_weights).items()}, other)
    grid = grid.replace("TINY", str(tiny_weights)).replace("other.safetensors", str(other))
    weights = [] if "--weights" in grid else ["--weights", str(tiny_weights)]
    arguments = ["--dataset", tiny, "--queries", "5", "--episodes", "20", "--device", "cpu", *weights]
    done = bench("run", "--method", *grid.split(), *arguments, "--dry-run")
    assert done.code == 0, done
    rows = [line.rpartition("to run")[0] for line in done.output.splitlines()[1:]]
    assert len(rows) > 2 and len(set(rows)) == len(rows), done.output
