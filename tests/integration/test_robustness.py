"""Corrupted tasks through the real command: the examples of docs/robustness.md on a smaller dataset, and what can go wrong."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.store import load_record

DOCUMENT = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8")
BLOCKS = [
    [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("bench ")]
    for block in re.findall(r"^```\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
]
TASK = "test-5way-1shot-5query-uniform"


@pytest.fixture(scope="module")
def quick(tiny: str, tiny_weights: Path) -> list[str]:
    """Options that make the run of an example a quick one."""
    return ["--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", "200", "--device", "cpu"]


@pytest.fixture(scope="module")
def example(bench_many, quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the runs of the document were made."""
    folder = tmp_path_factory.mktemp("robustness")
    clean, corrupted, _ = BLOCKS[0]
    for done in bench_many([([*clean, *quick], folder), ([*corrupted, *quick], folder)]):
        assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def records(example: Path) -> dict[tuple[str, str], RunRecord]:
    """The records by method and folder."""
    loaded = [(path, load_record(path)) for path in sorted(example.rglob("my-results/records/**/*.json"))]
    return {(record.method.name, path.parent.name): record for path, record in loaded}


def test_the_examples_give_a_record_for_each_method_corruption_and_severity(records):
    folders = [TASK, *(f"{TASK}-{name}-{severity}" for name in ("noise", "occlusion") for severity in range(1, 6))]
    assert sorted(records) == sorted((method, folder) for method in ("protonet", "ridge") for folder in folders)


def test_the_episodes_are_the_same_and_the_images_are_not(records):
    assert len({record.task.episodes_sha256 for record in records.values()}) == 1
    assert len({record.task.fingerprint for record in records.values()}) == 11
    clean = records["protonet", TASK]
    assert clean.task.corruption is None
    worst = records["protonet", f"{TASK}-occlusion-5"]
    assert worst.task.corruption.clean_fingerprint == clean.task.fingerprint
    assert str(worst.task.corruption) == "occlusion 5"
    assert worst.mean < clean.mean - 0.05


def test_a_finished_run_is_not_repeated(bench_many, quick: list[str], example: Path):
    (done,) = bench_many([(["run", "--corruption", "noise", "--severity", "3", *quick, "--results", "my-results"], example)])
    assert done.code == 0 and "is there already, nothing was run" in done.err
    assert re.search(r"protonet .* tiny\.py:Tiny, noise 3 ", done.out)


def test_the_figure_is_drawn_and_the_same_the_second_time(bench_many, example: Path):
    plot, name, pattern, *results = BLOCKS[0][2]
    paths = sorted(example.glob(pattern.replace("trifeature", "tiny.py-Tiny").replace("15query", "5query")))
    assert len(paths) == 22
    figure = example / "my-results" / "figures" / "corruptions.svg"
    drawn = []
    for _ in range(2):
        (done,) = bench_many([([plot, name, *paths, *results], example)])
        assert (done.code, done.out) == (0, "my-results/figures/corruptions.svg\n"), done.err
        drawn.append(figure.read_bytes())
    assert drawn[0] == drawn[1] and b"occlusion" in drawn[0]


def test_the_leaderboard_keeps_clean_and_corrupted_tasks_apart(bench_many, example: Path):
    (done,) = bench_many([(["leaderboard", "--results", "my-results"], example)])
    assert done.code == 0, done.err
    board = (example / "my-results" / "leaderboard.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", board, re.MULTILINE) == [
        "The best method of each dataset",
        "tiny.py:Tiny",
        "tiny.py:Tiny, corrupted images",
    ]
    heads = re.findall(r"^\| backbone \| method \| (.*) \|$", board, re.MULTILINE)
    task = "5-way 1-shot, 5 queries"
    corrupted = [f"{task}, corruption {name} {severity}" for name in ("noise", "occlusion") for severity in range(1, 6)]
    assert heads == [task, " | ".join(corrupted)]


def test_an_episode_of_a_corrupted_record_is_drawn_with_its_answers(bench_many, tiny: str, tiny_weights: Path, example: Path):
    (path,) = (example / "my-results/records/tiny.py-Tiny" / f"{TASK}-occlusion-4").glob("protonet-*.json")
    where = ["--dataset", tiny, "--weights", str(tiny_weights), "--index", "3"]
    shape = ["--dataset", tiny, "--queries", "5"]
    answered, shown, clean, other = bench_many(
        [
            (["plot", "episode", "--record", path, *where, "--output", "answers.png"], example),
            ([*BLOCKS[1][0], *shape], example),
            (["plot", "episode", "--index", "0", *shape, "--output", "clean.png"], example),
            (["plot", "episode", "--record", path, *where, "--severity", "2", "--output", "no.png"], example),
        ]
    )
    assert (answered.code, answered.out, answered.err) == (0, "answers.png\n", "")  # no warning: the accuracy agrees
    assert (shown.code, clean.code) == (0, 0), shown.err
    assert (example / "occluded.png").read_bytes() != (example / "clean.png").read_bytes()
    assert other.error == "--severity 2: the record has 4; leave the option out" and other.code == 2


def test_a_record_is_shown_with_its_corruption(bench_many, example: Path):
    (path,) = (example / "my-results/records/tiny.py-Tiny" / f"{TASK}-noise-2").glob("ridge-*.json")
    (done,) = bench_many([(["show", path], example)])
    assert re.search(r"^corruption +noise 2 *$", done.out, re.MULTILINE), done.out


def test_a_method_on_images_sees_corrupted_ones(bench_many, quick: list[str], plugins: Path, tmp_path: Path):
    run = ["run", "--method", f"{plugins / 'methods.py'}:OnImages", *quick, "--episodes", "20"]
    corrupted = [*run, "--corruption", "contrast", "--severity", "5"]
    done = bench_many([(run, tmp_path), (corrupted, tmp_path)])
    assert [one.code for one in done] == [0, 0], done[1].err
    clean, worse = (load_record(tmp_path / one.out.splitlines()[-1]) for one in done)
    assert clean.task.episodes_sha256 == worse.task.episodes_sha256
    assert clean.accuracies.tolist() != worse.accuracies.tolist()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--corruption", "nosie", "--severity", "3"], r"^--corruption nosie: unknown; did you mean 'noise'\?$"),
        (["--corruption", "noise", "--severity", "6"], r"^--severity 6: from 1 to 5$"),
        (["--corruption", "noise", "--severity", "1,0"], r"^--severity 0: from 1 to 5$"),
        (["--corruption", "noise", "--severity", "high"], r"^--severity high: not a whole number$"),
        (["--corruption", "noise"], r"^--corruption noise: how much\? add --severity 1, 2, 3, 4, 5$"),
        (["--severity", "3"], r"^--severity 3: of what\? add --corruption noise, blur, jpeg, grey, occlusion, contrast$"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_corruption_is_one_line(bench_many, quick: list[str], tmp_path: Path, arguments, says):
    (done,) = bench_many([(["run", *quick, *arguments], tmp_path)])
    assert (done.code, done.out) == (2, "")
    assert re.search(says, done.error), done.err
    assert not list(tmp_path.rglob("*.json"))
