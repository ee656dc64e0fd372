"""What the commands print and write, and that those which compute nothing load no library that is slow to import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.store import load_record

LIGHT = {
    "help": ["--help"],
    "help of a command": ["run", "--help"],
    "list": ["list", "methods"],
    "list results": ["list", "results"],
    "leaderboard": ["leaderboard"],
}
WITHOUT_SLOW_IMPORTS = """
import sys
from fewbench.benchmark.commands.main import main
sys.argv = ["bench", *sys.argv[1:]]
try:
    main()
except SystemExit as left:
    assert left.code == 0, left.code
heavy = {"torch", "torchvision", "timm", "sklearn", "open_clip", "scipy", "pandas", "matplotlib"}
heavy |= {"numpy"} if "--help" in sys.argv else set()
heavy &= set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", LIGHT)
def test_what_computes_nothing_imports_nothing_slow(tmp_path: Path, name: str):
    (tmp_path / "results" / "records").mkdir(parents=True)
    command = [sys.executable, "-c", WITHOUT_SLOW_IMPORTS, *LIGHT[name]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(bench_many, tmp_path: Path):
    general, of_run, bare = bench_many([(["--help"], tmp_path), (["run", "-h"], tmp_path), ([], tmp_path)])
    for command in ("run", "leaderboard", "compare", "list", "show", "env", "pretrain", "data"):
        assert re.search(rf"^\W+{command}\s", general.out, re.MULTILINE), command
    assert of_run.code == 0 and "Usage: bench run" in of_run.out and "Example: bench run --method" in of_run.out
    assert bare.code in (0, 2) and "Usage: bench" in bare.out + bare.err and "error:" not in bare.err


def test_lists(bench_many, tmp_path: Path):
    for kind, done in zip(BUILT_IN, bench_many([(["list", kind], tmp_path) for kind in BUILT_IN]), strict=True):
        assert done.code == 0 and done.err == ""
        for name in BUILT_IN[kind]:
            summary = registry.summary(registry.find(kind, name))
            assert re.search(rf"^{re.escape(name)} +fewbench +{re.escape(summary)}\s*$", done.out, re.MULTILINE), name


@pytest.fixture(scope="module")
def grid(bench, tmp_path_factory: pytest.TempPathFactory, tiny: str, tiny_weights: Path):
    """One real run of two methods and two shots, in a folder of its own."""
    folder = tmp_path_factory.mktemp("grid")
    task = ["--dataset", tiny, "--weights", tiny_weights, "--queries", "5", "--episodes", "200", "--device", "cpu"]
    return folder, bench("run", "--method", "protonet,chance", "--shots", "1,5", *task, cwd=folder)


def figure(record: RunRecord) -> str:
    assert record.half_width is not None
    return f"{100 * record.mean:.2f} ± {100 * record.half_width:.2f}"


def test_a_run_ends_with_a_table_and_the_paths_of_its_records(grid):
    folder, done = grid
    assert done.code == 0
    header, *lines = done.out.splitlines()
    assert re.split(r"  +", header.strip()) == [
        "method", "backbone", "dataset", "ways", "shots", "episodes", "accuracy % ± 95 % interval", "seconds",
    ]  # fmt: skip
    table, paths = lines[:4], lines[4:]
    records = [load_record(folder / path) for path in paths]
    assert len({*paths}) == 4
    assert all(re.fullmatch(r"results/records/tiny\.py-Tiny/test-5way-\dshot-5query-uniform/.*\.json", path) for path in paths)
    for line, record in zip(table, records, strict=True):
        assert record.complete
        name, backbone, dataset, ways, shots, episodes, accuracy, seconds = re.split(r"  +", line.strip())
        assert (name, backbone, dataset, ways, episodes) == (record.method.name, "conv4 (width=8)", "tiny.py:Tiny", "5", "200")
        assert int(shots) == record.task.shots
        assert accuracy == figure(record)
        assert float(seconds) == round(record.timing.total_seconds, 1)
    assert [(record.method.name, record.task.shots) for record in records] == [
        ("protonet", 1),
        ("protonet", 5),
        ("chance", 1),
        ("chance", 5),
    ]
    assert "protonet on tiny.py:Tiny" in done.err and "200/200" in done.err and "error" not in done.err


def test_a_finished_run_is_told_and_its_record_printed_as_json(bench_many, grid, tiny_run: list[str]):
    folder, done = grid
    (again,) = bench_many([([*tiny_run, "--shots", "1,5", "--json"], folder)])
    assert again.code == 0
    paths = done.out.splitlines()[5:7]
    assert [json.loads(line) for line in again.out.splitlines()] == [json.loads((folder / path).read_text()) for path in paths]
    assert [line for line in again.err.splitlines() if line] == [
        f"{path} is there already, nothing was run; --overwrite repeats it" for path in paths
    ]


def test_commands_on_records(bench_many, grid):
    folder, done = grid
    one, five, chance, _ = done.out.splitlines()[5:]
    shown, compared, apart, listed, board = bench_many(
        [
            (["show", one], folder),
            (["compare", one, chance], folder),
            (["compare", one, five], folder),
            (["list", "results"], folder),
            (["leaderboard"], folder),
        ]
    )
    record, other = load_record(folder / one), load_record(folder / chance)
    assert shown.code == 0
    assert f"{figure(record)} (95 % t interval)" in shown.out
    assert record.task.episodes_sha256 in shown.out and "5-way 1-shot, 5 queries a class" in shown.out

    difference = record.accuracies - other.accuracies
    assert compared.code == 0
    assert f"{100 * difference.mean():+.2f} ± " in compared.out and " 200" in compared.out
    assert (apart.code, apart.error) == (1, "these records are of different tasks: shots 1 and 5; compare runs of one task")

    assert listed.code == 0
    assert [line.split()[-1] for line in listed.out.splitlines()[1:]] == sorted(done.out.splitlines()[5:])

    assert (board.code, board.out) == (0, "leaderboard.md\n")
    text = (folder / "leaderboard.md").read_text(encoding="utf-8")
    for part in (figure(record), "20.00 ± 0.00", "1-shot", "5-shot"):
        assert part in text
    assert (folder / "results" / "figures" / "tiny.py-Tiny.svg").is_file()


def test_a_dry_run_says_what_would_run_and_writes_nothing(bench_many, grid, tiny_run: list[str], tmp_path: Path):
    folder, done = grid
    here, there = bench_many([([*tiny_run, "--shots", "1,10", "--dry-run"], place) for place in (folder, tmp_path)])
    assert (here.code, there.code) == (0, 0)
    finished, open_ = here.out.splitlines()[1:]
    assert " finished " in finished and finished.rstrip().endswith(done.out.splitlines()[5])
    assert " to run " in open_ and "10-shot" in open_
    assert len(there.out.splitlines()) == 3 and list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_the_run_refuses_and_knows_what_it_repeats(bench_many, grid, tiny_run: list[str]):
    folder, _ = grid
    tf32, overwrite = bench_many(
        [([*tiny_run, *more, "--dry-run"], folder) for more in (["--precision", "tf32"], ["--overwrite"])]
    )
    assert (tf32.code, tf32.out) == (2, "")
    assert tf32.error == "--precision tf32: only CUDA devices have it; take --precision fp32 or bf16"
    assert overwrite.code == 0 and " to run " in overwrite.out and " finished " not in overwrite.out


def test_a_toml_file_gives_the_options_and_the_command_line_comes_first(
    bench_many, tiny, tiny_weights, plugins, tmp_path: Path
):
    (tmp_path / "run.toml").write_text(
        f"""
        method = ["{(plugins / "methods.py").as_posix()}:NearestMean"]
        dataset = "{Path(tiny).as_posix()}"
        weights = "{tiny_weights.as_posix()}"
        queries = 5
        episodes = 200
        seed = 3
        bootstrap = true
        [set]
        power = 2
        [set.dataset]
        noise = 40
        """
    )
    (done,) = bench_many([(["run", "--config", "run.toml", "--episodes", "70", "--set", "power=3"], tmp_path)])
    assert done.code == 0, done.err
    record = load_record(tmp_path / done.out.splitlines()[-1])
    assert (record.n_episodes, record.task.queries, record.task.seed) == (70, 5, 3)
    assert record.method.parameters == {"power": 3.0}
    assert record.task.dataset_parameters == {"noise": 40.0}
    assert record.accuracy.bootstrap is not None


def test_a_limited_run_is_marked_and_goes_on(bench_many, tiny_run: list[str], tmp_path: Path):
    run = [*tiny_run, "--episodes", "600"]
    limited, full = bench_many([([*run, "--limit", "300"], tmp_path), (run, tmp_path)])
    assert "300 (partial)" in limited.out and limited.out.splitlines()[-1].endswith(".partial.json")
    assert "resuming after 256 of 600 episodes" in full.err
    assert [path.name for path in tmp_path.rglob("*.json")] == [Path(full.out.splitlines()[-1]).name]


def test_show_and_env(bench_many, plugins: Path, tmp_path: Path):
    protonet, dataset, plugin, env = bench_many(
        [
            (["show", "protonet"], tmp_path),
            (["show", "dataset", "omniglot"], tmp_path),
            (["show", f"{plugins / 'methods.py'}:NearestMean"], tmp_path),
            (["env"], tmp_path),
        ]
    )
    assert protonet.code == dataset.code == plugin.code == env.code == 0
    assert protonet.out.startswith("method protonet (from fewbench)") and "arXiv:1703.05175" in protonet.out
    assert "citation: " in dataset.out and "licence: " in dataset.out and re.search(r"rotations +bool +True", dataset.out)
    assert re.search(r"power +float +1\.0 +exponent of the distance", plugin.out)
    assert os.environ["FEWBENCH_CACHE"] in env.out and sys.version.split()[0] in env.out and "torch" in env.out


def test_an_installed_plugin_with_folders_named_like_ours(bench, tiny_run: list[str], plugins: Path, tmp_path: Path):
    """As after `pip install`: a distribution on the path, with its own top-level `methods` and `tasks`."""
    site = tmp_path / "site"
    for folder in ("methods", "tasks"):
        (site / folder).mkdir(parents=True)
        (site / folder / "__init__.py").touch()
    (site / "methods" / "base.py").write_text("raise ImportError('the wrong base')\n")
    (site / "methods" / "nearest.py").write_text((plugins / "methods.py").read_text())
    (site / "tasks" / "errors.py").write_text("raise ImportError('the wrong errors')\n")
    information = site / "nearby-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nearby\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[fewbench.methods]\nnear = methods.nearest:NearestMean\nbad = methods.base:X\n"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    listed = bench("list", "methods", cwd=tmp_path, PYTHONPATH=path)
    broken = bench(*tiny_run, "--method", "near,protonet,bad", cwd=tmp_path, PYTHONPATH=path)
    place = f"({Path('site', 'methods', 'base.py')}, line 1)"
    assert (broken.code, broken.error) == (1, f"method bad (from nearby) does not import: ImportError: the wrong base {place}")
    assert not [*tmp_path.rglob("*.json")]  # a run of the grid cannot start, so none does
    assert bench(*tiny_run, "--method", "near,protonet", cwd=tmp_path, PYTHONPATH=path).code == 0
    assert re.search(r"^near +nearby", listed.out, re.MULTILINE) and re.search(r"^bad +nearby", listed.out, re.MULTILINE)
    near, protonet = sorted(map(load_record, tmp_path.rglob("*.json")), key=lambda record: record.method.name)
    assert near.method.distribution == "nearby 1.0"
    assert near.accuracies.tolist() == pytest.approx(protonet.accuracies.tolist(), abs=0.05)
