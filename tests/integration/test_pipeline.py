"""`bench pipeline` through the real command: the page's example, and a meta-training that is killed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.backbones.weights.checkpoint import weights_sha256
from fewbench.benchmark.records.store import load_record

PAGE = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
KILLED = """
dataset = "{dataset}"
[pretrain]
epochs = 1
batch-size = 60
set = {{ "backbone.width" = 8 }}
[train]
ways = 4
queries = 3
steps = 60
validate-every = 10
val-episodes = 20
[[run]]
queries = 5
episodes = 70
"""


def files(results: Path, kind: str) -> list[Path]:
    return sorted((results / "checkpoints").glob(f"{kind}-*.safetensors"))


def test_the_example_of_the_page(bench_many: Any, tiny: str, tmp_path: Path):
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (commands,) = re.findall(r"^```\n(bench pipeline .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    few = {
        '"trifeature"': f'"{tiny}"',
        "epochs = 5": "epochs = 1\nbatch-size = 60\nset = {'backbone.width' = 4}",
        "steps = 1000": "steps = 2\nways = 4\nqueries = 3\nval-episodes = 20",
        "episodes = 600": "episodes = 2\nqueries = 2",
        '"auto"': "0.001\nsteps = 1",
    }
    for old, new in few.items():
        assert example.count(old) == 1
        example = example.replace(old, new)
    (tmp_path / "pmf.toml").write_text(example, encoding="utf-8")
    lines = [[*shlex.split(line)[1:], "--device", "cpu"] for line in commands.splitlines()]
    made, dry = bench_many([(line, tmp_path) for line in lines])
    assert made.code == dry.code == 0, made.err + dry.err
    assert re.findall(r"^(pretrain|train): trains, ", made.err, re.MULTILINE) == ["pretrain", "train"]
    records = [load_record(tmp_path / line) for line in made.out.splitlines()[-4:]]
    tasks = [(record.task.shots, record.backbone.tune) for record in records]
    assert tasks == [(1, "none"), (1, "full"), (5, "none"), (5, "full")]
    (trained,) = files(tmp_path / "my-results", "train")
    assert {record.backbone.weights_sha256 for record in records} == {weights_sha256(trained)}
    assert dry.out.count("done already") == 6 and dry.out.splitlines()[-1].split()[-1] == made.out.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_meta_training_that_is_killed_goes_on_to_the_same_weights(
    bench_many: Any, start_bench: Any, wait_for: Any, tiny: str, tmp_path: Path
):
    config = tmp_path / "p.toml"
    config.write_text(KILLED.format(dataset=tiny), encoding="utf-8")
    command = ["pipeline", "protonet", "--config", str(config), "--device", "cpu"]
    for name in ("killed", "undisturbed"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "killed"
    process = start_bench(*command, cwd=folder)
    wait_for(lambda: [*folder.glob("results/checkpoints/train-*.training/last.safetensors")], process)
    process.kill()
    process.communicate()
    assert files(folder / "results", "train") == [] and len(files(folder / "results", "pretrain")) == 1
    dry, gone_on, undisturbed = bench_many(
        [([*command, "--dry-run"], folder), (command, folder), (command, tmp_path / "undisturbed")]
    )
    assert dry.code == gone_on.code == undisturbed.code == 0, dry.err + gone_on.err + undisturbed.err
    assert re.search(r"^pretrain .* done already .*\n^train .* goes on ", dry.out, re.MULTILINE)
    assert "pretrain: done already" in gone_on.err and "train: goes on" in gone_on.err
    for kind in ("pretrain", "train"):
        (one,), (other,) = files(folder / "results", kind), files(tmp_path / "undisturbed" / "results", kind)
        assert one.name == other.name and weights_sha256(one) == weights_sha256(other)
    assert gone_on.out.splitlines()[-1] == undisturbed.out.splitlines()[-1]


def test_mistakes_are_one_line_and_bad_usage(bench_many: Any, tmp_path: Path):
    (tmp_path / "p.toml").write_text('dataset = "omniglot"\n[tran]\n', encoding="utf-8")
    unknown, absent = bench_many(
        [(["pipeline", "pmf", "--config", "p.toml"], tmp_path), (["pipeline", "pmf", "--config", "q.toml"], tmp_path)]
    )
    assert unknown.code == absent.code == 2
    assert unknown.error == "--config p.toml: unknown key 'tran'; did you mean 'train'?"
    assert absent.error == "--config q.toml: No such file or directory"
