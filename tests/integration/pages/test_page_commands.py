"""Every command of README.md and docs/ is one that `bench` takes, and does what its page says.

The commands of a page run in their order, in one folder, in this process. The folder is a copy of the tracked files that a
command could change; at the end these have the bytes that they had.
"""

from __future__ import annotations

import glob
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
from PIL import Image

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.records.statistics import in_percent
from fewbench.benchmark.records.store import load_record
from fewbench.tasks.class_lists import listed_classes
from fewbench.tasks.datasets import omniglot
from fewbench.tasks.datasets.split import SPLITS

from .conftest import COMMANDS, PAGES, ROOT, Command, blocks

COPIED = ("README.md", "docs", "results", "leaderboard.md")
IMAGES = 20  # a class, which 5 shots and 15 queries need
BENCH = [command for command in COMMANDS if command.text.startswith("bench ")]


class Rule(NamedTuple):
    """How a command is tried that would take long here, or cannot succeed here.

    Attributes:
        holds: the beginning of the commands, or a part of them.
        why: why they are not run as they stand.
        added: words that are added; of an option that is given twice the last counts.
        error: the one line that the command ends with, a pattern; "" where it succeeds.
    """

    holds: str
    why: str
    added: tuple[str, ...] = ()
    error: str = ""

    def covers(self, command: Command) -> bool:
        return self.holds in command.text


CPU = ("--device", "cpu")
ELSEWHERE = {  # pages whose commands other tests run in their order, with much more to say of them
    "clip.md": "test_clip_page.py",
    "features.md": "test_features.py",
    "pipeline.md": "test_pipeline.py",
    "robustness.md": "test_robustness.py",
}
RULES = (  # the first that covers a command counts
    Rule("open_clip:", "weights of a hub", error="open_clip|not in the cache|not installed"),
    Rule("timm:vit_small_patch16_224.dino", "weights of a hub, and images", error="not prepared|not in the cache"),
    Rule("--checkpoint my-results/checkpoints/pmf-…", "the weights that the line above trains", error="no such file"),
    Rule("timm:resnet18 --dataset", "weights of a hub", error="not in the cache"),
    Rule("trained.pth", "weights of a user", error="trained.pth: no such file|trained.pth"),
    Rule("feat.pth", "weights of a user", error="feat.pth"),
    Rule("mobilenetv2.pt", "weights of a user", error="mobilenetv2.pt"),
    Rule("relation.pkl", "published weights", error="encoder.pkl"),
    Rule("relation.safetensors", "published weights", error="relation.safetensors"),
    Rule("model.th", "published weights", error="model.th"),
    Rule("--weights pretrained.safetensors", "weights of a user", error="pretrained.safetensors"),
    Rule("bench reproduce protonet-omniglot", "an hour of training", error="ways|classes"),
    Rule("bench pipeline pmf --config $file", "six hours of training", added=("--dry-run",)),
    Rule("docs/ablation/scopes.toml", "half an hour of training", added=("--dry-run",)),
    Rule("--method protonet,ridge,simpleshot", "simpleshot encodes 25,600 images", added=("--method", "protonet,ridge")),
    Rule("bench train --method protonet --dataset omniglot", "has 60 ways, and the small dataset 48 classes", error="60"),
    Rule(
        "bench train --method maml",
        "minutes of training, with 32 episodes a step",
        added=("--steps", "1", "--meta-batch", "2", "--val-episodes", "4", *CPU),
    ),
    Rule("bench train --method relation-net", "an hour of training", added=("--steps", "1", "--val-episodes", "4", *CPU)),
    Rule("bench train", "minutes of training", added=("--steps", "2", "--val-episodes", "20", *CPU)),
    Rule("bench pretrain", "minutes of training", added=("--epochs", "0", *CPU)),
    Rule("--tune full,head,none,norm", "an hour of fine-tuning", added=("--dry-run",)),
    Rule("--method finetune", "minutes of fine-tuning", added=("--set", "steps=1", "--episodes", "2", *CPU)),
    Rule("bench testbed make trifeature", "the small dataset has fewer tasks", added=("--tasks", "100")),
    Rule("bench testbed make tiered", "takes 10 s", added=("--tasks", "500")),
    Rule("bench run --method protonet --shots 1", "the README shows all of its episodes", added=CPU),
    Rule("bench run", "10,000 episodes", added=("--episodes", "20", *CPU)),
)


def test_every_rule_and_exception_is_of_a_command():
    assert [rule.holds for rule in RULES if not any(rule.covers(command) for command in BENCH)] == []
    assert {command.page for command in BENCH if command.fenced} >= ELSEWHERE.keys()
    assert all((Path(__file__).parents[1] / name).is_file() for name in ELSEWHERE.values())


def test_no_commands_are_overlooked():
    lines = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    starting = [line for line in lines if re.match(r" *(?:pip install \. && |for .*; do )?bench [a-z]", line)]
    assert sum(command.fenced for command in COMMANDS) >= len([line for line in starting if "`" not in line]) > 60


@cache
def command_tree() -> Any:
    """The commands with their options, which Typer makes anew, out of the code, whenever it is asked."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("command", BENCH, ids=lambda command: f"{command.page}: {command.text}")
def test_bench_takes_the_command(command: Command):
    group, words = command_tree(), [word for word in command.words if word != "…"]
    name = "bench"
    while hasattr(group, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in group.commands, f"bench has no {name}"
        group = group.commands[name]
    known = {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*known, "--help"}
    if command.fenced:
        group.make_context(name, list(words))  # values of the right types, and nothing needed is left out


def photos(folder: Path, classes: list[str], suffix: str = ".png") -> None:
    """A folder a class, with images of its own colour under noise."""
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        colour = generator.integers(0, 200, 3, dtype=np.uint8)
        for image in range(IMAGES):
            pixels = colour + generator.integers(0, 50, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{image}{suffix}")


@pytest.fixture(scope="module")
def brought(shorten: Callable[[pytest.MonkeyPatch], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small datasets, with the copies of mini-ImageNet and Omniglot that a user brings."""
    small = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        names = [row.class_id for split in SPLITS for row in listed_classes("mini-imagenet", split)]
        characters = [one for split in SPLITS for one in omniglot.characters(split)]
    photos(small / "DOWNLOADS" / "mini-imagenet", names, ".jpg")
    generator = np.random.default_rng(1)
    for character in characters:
        folder = small / "FOLDER" / f"images_{character.part}" / character.identifier
        folder.mkdir(parents=True)
        for drawer in range(1, 21):
            ink = generator.random((105, 105)) < 0.1
            Image.fromarray(~ink).save(folder / f"{character.row + 1:04}_{drawer:02}.png")
    return small


@cache
def tracked() -> list[str]:
    """The files that a command could change, without what a reader's own commands have left beside them."""
    listed = subprocess.run(["git", "ls-files", "-z", *COPIED], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listed.returncode:
        pytest.skip("no clone, so nothing is tracked")
    return list(filter(None, listed.stdout.split("\0")))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_datasets: None) -> Path:
    """A copy of the tracked files that a command could change, as the current folder; datasets are small."""
    for name in tracked():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def given(page: str) -> None:
    """Put what a page takes for granted into the current folder."""
    if page == "README.md":
        table = "<!-- table: records=results/records/**/*.json rows=method.name columns=task.shots -->\n<!-- /table -->\n"
        Path("PAGE.md").write_text(table, encoding="utf-8")
        (own,) = (block for block in blocks(page, "python") if "class NearestShot" in block)
        Path("nearest.py").write_text(own, encoding="utf-8")
    if page in ("README.md", "photos.md"):
        photos(Path("photos"), ["husky", "beagle", "boxer", "collie", "poodle"])
        photos(Path("new-photos"), ["unknown"])
    if page == "data.md":
        photos(Path("PHOTOS"), [f"dogs/{name}" for name in ("husky", "beagle", "boxer", "collie", "poodle")])
    if page == "pretraining.md":
        photos(Path("FOLDER/train"), [f"c{number}" for number in range(7)])
        photos(Path("FOLDER/val"), [f"v{number}" for number in range(5)])
        lines = [f"c{number},a colour" for number in range(7)] + [f"v{number},a colour" for number in range(5)]
        Path("captions.csv").write_text("class_id,caption\n" + "\n".join(lines), encoding="utf-8")
    for name in {"ablation.md": ["ablation"], "pretraining.md": ["locoprop", "pretraining"]}.get(page, []):
        study = f"studies/{name}/records"
        shutil.copytree(Path("results", study), Path("my-results", study))


def as_tried(command: Command, rule: Rule | None) -> list[str]:
    """The words of a command, with files in the place of RECORD and of patterns."""
    words, records = [], sorted(glob.glob("my-results/records/**/test-5way-1shot-*/*.json", recursive=True))  # noqa: PTH207
    if "--testbed" in command.words:
        records = [path for path in records if "-testbed" in path]
    for word in command.words:
        word = word.replace("$file", "docs/ablation/conv4-trifeature-none.toml")
        if word == "RECORD":
            words.append(records.pop(0))
        elif "*" in word and not word.startswith("--"):
            there = sorted(glob.glob(word))  # noqa: PTH207
            assert there, f"nothing matches {word}"
            words += there
        else:
            words.append(word)
    return [*words, *(rule.added if rule else ())]


def run_page(page: str, chosen: list[Command], bench: Callable[..., Any]) -> dict[str, Any]:
    """Run the commands of a page in their order; gives how each ended."""
    ended = {}
    for command in chosen:
        if command.text.startswith("cp "):
            shutil.copyfile(*command.words)
            continue
        rule = next((rule for rule in RULES if rule.covers(command)), None)
        done = ended[command.text] = bench(*as_tried(command, rule))
        if rule and rule.error:
            assert done.code in (1, 2) and re.search(rule.error, done.err.splitlines()[-1]), f"{command.text}: {done.err}"
            continue
        assert done.code == 0, f"{page}: {command.text}: {done.err}"
        written = [
            line for line in done.out.splitlines() if re.fullmatch(r"\S+\.(json|safetensors|md|svg|png|csv|parquet)", line)
        ]
        assert all(Path(line).is_file() for line in written), f"{command.text}: {done.out}"
    return ended


def changed(clone: Path) -> list[Path]:
    """The tracked files that no longer have the bytes of the repository's."""
    return [Path(name) for name in tracked() if (clone / name).read_bytes() != (ROOT / name).read_bytes()]


OF_PAGES = sorted({command.page for command in COMMANDS if command.fenced} - {*ELSEWHERE})


@pytest.mark.parametrize("page", OF_PAGES)
def test_the_commands_of_a_page_in_their_order(page: str, brought: Path, clone: Path, bench_here: Callable[..., Any]):
    given(page)
    for name in {"DOWNLOADS", "FOLDER"} - {path.name for path in clone.iterdir()}:
        (clone / name).symlink_to(brought / name)
    if page != "data.md":
        for dataset, source in (("mini-imagenet", "DOWNLOADS/mini-imagenet"), ("omniglot", "FOLDER")):
            if any(dataset in command.text for command in COMMANDS if command.page == page) or page == "ablation.md":
                assert bench_here("data", "prepare", dataset, "--from", source).code == 0
    ended = run_page(page, [command for command in COMMANDS if command.page == page and command.complete], bench_here)
    assert changed(clone) == []
    for copy in clone.glob("my-*.md"):  # of the same records
        assert page == "reproduction.md" or copy.read_bytes() == (ROOT / "docs" / page).read_bytes()
    if page == "README.md":
        check_first_run(ended["bench run --method protonet --shots 1"].out)


def check_first_run(printed: str) -> None:
    """Compare the output that the README shows with that of a run on fewer images, and its accuracy with a record."""
    (shown,) = [block for block in blocks("README.md", "") if block.startswith("method ")]
    measured = re.compile(r"[\d.]+ ± [\d.]+ +[\d.]+$|too few.*$", re.MULTILINE)
    assert [measured.sub("", line).split() for line in shown.splitlines()] == [
        measured.sub("", line).split() for line in printed.splitlines()
    ]
    first = "results/records/trifeature/test-5way-1shot-15query-uniform/protonet-conv4-"
    (name,) = [name for name in tracked() if name.startswith(first)]
    record = load_record(ROOT / name)
    assert (record.n_episodes, record.method.parameters, record.backbone.weights) == (10_000, {}, "conv4-trifeature")
    assert f" {in_percent(record.mean, record.half_width, record.n_episodes)} " in shown
