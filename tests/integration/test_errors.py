"""What a user can do wrong, through the real command: one line that names the cure, the right exit code, no partial record."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

POOL = """
import torch
from dataclasses import dataclass
from fewbench.benchmark.backbones.base import Backbone


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x.mean(dim=(2, 3)) * self.scale


@dataclass(frozen=True)
class Pool(Backbone):
    def build(self, channels, size, generator):
        return Scaled()
"""


class Mistake(NamedTuple):
    """Arguments, how the command ends, and what its line says. PLUGINS stands for the folder of plug-ins."""

    arguments: list[str]
    code: int
    says: str
    late: bool = False  # found only after progress was shown


def run(*arguments: str, code: int = 2, says: str, late: bool = False) -> Mistake:
    """A mistake in a run that would else be a quick one."""
    tiny = {"--dataset": "PLUGINS/tiny.py:Tiny", "--weights": "WEIGHTS", "--queries": "5", "--episodes": "200"}
    others = [text for option, value in tiny.items() if option not in arguments for text in (option, value)]
    return Mistake(["run", *others, *arguments], code, says, late)


MISTAKES = {
    "unknown method": run("--method", "protnet", says=r"unknown method 'protnet'; did you mean 'protonet'\?"),
    "unknown dataset": run("--dataset", "trifeatures", says=r"unknown dataset 'trifeatures'; did you mean 'trifeature'\?"),
    "unknown backbone": run("--backbone", "conv-4", says=r"unknown backbone 'conv-4'; did you mean 'conv4'\?"),
    "unknown split": run("--split", "tests", says=r"unknown split 'tests'; did you mean 'test'\?"),
    "unknown sampler": run("--sampler", "unifrom", says=r"unknown sampler 'unifrom'; did you mean 'uniform'\?"),
    "unknown parameter": run(
        "--method", "PLUGINS/methods.py:NearestMean", "--set", "powr=2", says=r"has no parameter 'powr'; it has power \(float"
    ),
    "parameter of the wrong type": run(
        "--method", "PLUGINS/methods.py:NearestMean", "--set", "power=two", says=r"power=two: not a number"
    ),
    "parameter without a value": run("--set", "power", says=r"'power' is not of the form name=value"),
    "unknown option": run("--way", "5", says=r"[Nn]o such option: --way.*--ways"),
    "unknown command": Mistake(["rnu"], 2, r"[Nn]o such command 'rnu'"),
    "no number": run("--episodes", "many", says=r"--episodes"),
    "no number in a list": run("--shots", "1,five", says=r"--shots five: not a whole number"),
    "too many ways": run("--ways", "13", says=r"--ways 13: this split has only 12 classes; take fewer ways"),
    "too many shots and queries": run(
        "--shots", "26", says=r"--shots 26 and --queries 5 need 31 images a class, but the smallest class .* has 30; take fewer"
    ),
    "no episodes": run("--episodes", "0", says=r"--episodes 0: at least 1"),
    "negative seed": run("--seed", "-1", says=r"--seed -1: from 0"),
    "plug-in file that is not there": run(
        "--method", "gone.py:Guess", says=r"method gone\.py:Guess: file gone\.py does not exist"
    ),
    "plug-in file that does not import": run(
        "--method", "broken.py:Guess", code=1, says=r"method broken\.py:Guess does not import: ModuleNotFoundError: .*nowhere"
    ),
    "plug-in file that is not Python": run(
        "--method", "prose.py:Guess", code=1, says=r"method prose\.py:Guess does not import: SyntaxError: "
    ),
    "plug-in file without the class": run(
        "--method", "PLUGINS/methods.py:NearestMeen", says=r"no class 'NearestMeen' in it; did you mean 'NearestMean'\?"
    ),
    "plug-in file without a class named": run("--method", "PLUGINS/methods.py", says=r"name the class in the file too, as "),
    "class that is no method": run(
        "--method", "PLUGINS/methods.py:NoMethod", says=r"NoMethod is not a subclass of fewbench\.methods\.base\.Method"
    ),
    "class without classify": run("--method", "PLUGINS/methods.py:Unfinished", says=r"Unfinished does not define classify"),
    "scores of the wrong shape": run(
        "--method",
        "PLUGINS/methods.py:WrongShape",
        code=1,
        says=r"method methods\.py:WrongShape returned scores of shape \[.*\] for episode 0 .*; expected a tensor ",
        late=True,
    ),
    "NaN in the scores": run(
        "--method",
        "PLUGINS/methods.py:NotANumber",
        code=1,
        says=r"method methods\.py:NotANumber returned NaN scores in episode 2$",
        late=True,
    ),
    "method that fails": run(
        "--method",
        "PLUGINS/methods.py:Fails",
        code=1,
        says=r"method methods\.py:Fails failed in episodes 0 to \d+: RuntimeError: no such luck today",
        late=True,
    ),
    "output folder that cannot be written": run("--output", "prose.py", code=1, says=r"cannot write to .*prose\.py is a file"),
    "cuda where there is none": run("--device", "cuda", says=r"--device cuda: no such CUDA device .*; take --device cpu"),
    "omniglot without network": run(
        "--dataset",
        "omniglot",
        code=1,
        says=r"omniglot is not prepared and could not be downloaded .*bench data prepare omniglot --from PATH",
        late=True,
    ),
    "weights that are not there": run("--weights", "gone.safetensors", says=r"--weights gone\.safetensors: no such file"),
    "weights that are none": run("--weights", "none.safetensors", code=1, says=r"none\.safetensors is not a whole safetensors"),
    "weights with a damaged description": run("--weights", "half.safetensors", code=1, says=r"its description half\.json"),
    "dataset without weights": Mistake(
        ["run", "--dataset", "PLUGINS/tiny.py:Tiny"], 2, r"no conv4 weights pretrained on .*bench pretrain --dataset"
    ),
    "unknown timm model": run("--backbone", "timm:resnet81", says=r"timm .* has no such model; did you mean 'resnet18'"),
    "unknown open_clip model": run("--backbone", "open_clip:ViT-B-23/openai", says=r"ViT-B-23.*did you mean 'ViT-B-32'\?"),
    "hub out of reach": Mistake(
        ["run", "--dataset", "PLUGINS/tiny.py:Tiny", "--queries", "5", "--backbone", "timm:resnet18"],
        1,
        r"timm:resnet18: the weights .* hub cannot be reached .*; download .*/model\.safetensors .* --weights FILE$",
    ),
    "weights of another network": run("--backbone", "resnet12", says=r"belong to backbone conv4, not resnet12"),
    "weights without a description, of another network": run(
        "--backbone",
        "resnet12",
        "--weights",
        "bare.safetensors",
        code=1,
        says=r"do not fit backbone resnet12: 0 of \d+ tensors",
    ),
    "images that the network refuses": run(
        "--backbone",
        "timm:vit_tiny_patch16_224",
        "--weights",
        "bare.safetensors",
        "--set",
        "backbone.img_size=7",
        code=1,
        says=r"the backbone takes no images of 7×7 pixels .*set backbone\.size",
    ),
    "unknown tuning scope": run(
        "--method", "finetune", "--tune", "nrom", says=r"--tune nrom: no such scope; did you mean 'norm'\?"
    ),
    "tuning for a method that trains nothing": run(
        "--tune", "full", says=r"--tune full: protonet trains nothing .*finetune, pmf can"
    ),
    "low-rank adapters without a layer for them": run(
        "--method",
        "finetune",
        "--tune",
        "lora",
        "--backbone",
        "pool.py:Pool",
        "--weights",
        "pool.safetensors",
        code=1,
        says=r"--tune lora: .*no linear or ungrouped convolution layers",
        late=True,
    ),
    "unknown precision": run("--precision", "fp8", says=r"--precision fp8: not fp32, tf32, bf16 or fp16"),
    "precision that a CPU lacks": run("--precision", "tf32", says=r"--precision tf32: only CUDA devices have it", late=True),
    "batch of nothing": run("--batch-size", "0", says=r"--batch-size 0: at least 1"),
    "batch size that is no number": run("--batch-size", "many", says=r"--batch-size many: not a whole number or auto"),
    "checkpoint that is not there": run(
        "--checkpoint", "gone.safetensors", says=r"--checkpoint gone\.safetensors: no such file"
    ),
    "method that has to be trained": run("--method", "maml", says=r"method maml has to be trained: bench train --method maml"),
    "unknown recipe": Mistake(
        ["pretrain", "--dataset", "PLUGINS/tiny.py:Tiny", "--recipe", "simclear"],
        2,
        r"unknown recipe 'simclear'; did you mean 'simclr'",
    ),
    "training of a method without a loss": Mistake(
        ["train", "--dataset", "PLUGINS/tiny.py:Tiny", "--method", "ridge"], 2, r"method ridge is not meta-trained; .*protonet"
    ),
    "training with more ways than classes": Mistake(
        ["train", "--dataset", "PLUGINS/tiny.py:Tiny", "--method", "protonet", "--ways", "13"],
        2,
        r"--ways 13: this split has only 12",
    ),
    "config that is not there": run("--config", "gone.toml", says=r"--config gone\.toml: No such file"),
    "config with an unknown key": run(
        "--config", "wrong.toml", says=r"wrong\.toml: unknown key 'shot'; did you mean 'shots'\?"
    ),
    "unknown thing to show": Mistake(["show", "protnet"], 2, r"nothing is called 'protnet'; did you mean 'protonet'\?"),
    "unknown thing to list": Mistake(["list", "method"], 2, r"cannot list 'method'; did you mean 'methods'\?"),
    "record that is not there": Mistake(["show", "gone.json"], 1, r"cannot read record gone\.json: No such file"),
    "record that is damaged": Mistake(["show", "corrupt.json"], 1, r"corrupt\.json is a damaged record: .*; remove it"),
    "comparison with nothing": Mistake(["compare", "corrupt.json"], 2, r"1 record; give two or more to compare"),
}


@pytest.fixture(scope="module")
def results(bench_many, plugins: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory):
    """How each mistake ended, and the folder that it was made in."""
    cases, folders = [], {}
    for number, (name, mistake) in enumerate(MISTAKES.items()):
        folder = folders[name] = tmp_path_factory.mktemp(f"mistake{number}")
        (folder / "broken.py").write_text("import nowhere\n")
        (folder / "prose.py").write_text("This is no Python.\n")
        (folder / "wrong.toml").write_text("shot = 5\n")
        (folder / "corrupt.json").write_text("{}")
        (folder / "none.safetensors").write_text("none")
        (folder / "pool.py").write_text(POOL)
        save_file(load_file(tiny_weights), folder / "bare.safetensors")
        save_file({"scale": torch.ones(3)}, folder / "pool.safetensors")
        shutil.copy(folder / "bare.safetensors", folder / "half.safetensors")
        (folder / "half.json").write_text("{")
        arguments = [text.replace("PLUGINS", str(plugins)).replace("WEIGHTS", str(tiny_weights)) for text in mistake.arguments]
        cases.append((arguments, folder))
    closed = "http://127.0.0.1:9"  # the port "discard", where nothing listens
    environment = {
        "CUDA_VISIBLE_DEVICES": "",
        "HTTP_PROXY": closed,
        "HTTPS_PROXY": closed,
        "https_proxy": closed,
        "NO_PROXY": "",
    }
    done = bench_many(cases, **environment)
    return {name: (one, folders[name]) for name, one in zip(MISTAKES, done, strict=True)}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_cure(results, name: str):
    mistake, (done, folder) = MISTAKES[name], results[name]
    assert re.search(mistake.says, done.error), done.err
    assert done.code == mistake.code
    assert done.out == ""
    if not mistake.late:
        assert done.err == f"error: {done.error}\n"
    assert not [path for path in folder.rglob("*") if path.is_file() and "results" in path.parts]


def test_the_real_command_ends_the_same_way(bench, tiny_run: list[str], tmp_path: Path):
    done = bench(*tiny_run, "--ways", "13", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --ways 13: this split has only 12 classes; take fewer ways\n"


def test_a_corrupt_record_is_named_and_skipped(bench_many, tmp_path: Path):
    records = tmp_path / "results" / "records" / "birds"
    records.mkdir(parents=True)
    (records / "corrupt.json").write_text("{")
    commands = [["leaderboard"], ["leaderboard", "--check"], ["list", "results"]]
    done, checked, listed = bench_many([(command, tmp_path) for command in commands])
    assert (done.code, done.out) == (0, "leaderboard.md\n")
    assert re.fullmatch(r"warning: .*corrupt\.json is a damaged record: .*; skipped\n", done.err)
    assert "There are no complete records yet" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert (checked.code, checked.out, checked.err) == (1, "", done.err)
    assert listed.code == 0 and "corrupt.json is a damaged record" in listed.err


def test_a_stale_leaderboard_is_told_and_left(bench_many, tmp_path: Path):
    (tmp_path / "leaderboard.md").write_text("# Mine\n<!-- leaderboard:begin -->\n<!-- leaderboard:end -->\n")
    before = (tmp_path / "leaderboard.md").read_text()
    check = (["leaderboard", "--check"], tmp_path)
    (done,) = bench_many([check])
    assert (done.code, done.err) == (1, "error: cannot read records results/records: No such file or directory\n")
    (tmp_path / "results" / "records").mkdir(parents=True)
    (done,) = bench_many([check])
    assert (done.code, done.err) == (1, "leaderboard.md is stale; run 'bench leaderboard'\n")
    assert (tmp_path / "leaderboard.md").read_text() == before
    assert [done.code for done in bench_many([(["leaderboard"], tmp_path), check])] == [0, 0]


def test_a_record_spoilt_by_hand_is_named(bench_many, tiny_run: list[str], tmp_path: Path):
    (done,) = bench_many([(tiny_run, tmp_path)])
    path = tmp_path / done.out.splitlines()[-1]
    content = json.loads(path.read_text(encoding="utf-8"))
    content["accuracy"]["mean"] += 0.01
    path.write_text(json.dumps(content), encoding="utf-8")
    (shown,) = bench_many([(["show", path], tmp_path)])
    assert shown.code == 1
    assert re.search(r"damaged record: accuracy\.mean is .*, and .* by its per-episode accuracies", shown.error)
