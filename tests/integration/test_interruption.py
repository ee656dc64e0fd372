"""A run that is interrupted or killed goes on from where it was, and ends in the record of an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EPISODES = 64 * 24
LIMIT = 120  # seconds to wait for something that takes a few

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGINT for a process nor SIGKILL")


@pytest.fixture
def arguments(tiny: str, tiny_weights: Path, plugins: Path) -> list[str]:
    """A run that is as slow as the environment says."""
    task = ["--dataset", tiny, "--weights", str(tiny_weights), "--queries", "5", "--episodes", str(EPISODES), "--device", "cpu"]
    return ["run", "--method", f"{plugins / 'methods.py'}:Slow", *task]


@pytest.fixture
def start(arguments: list[str], start_bench: Callable[..., subprocess.Popen[str]]):
    """A function that starts the run in a folder, a quarter of a second a batch."""

    def start(folder: Path) -> subprocess.Popen[str]:
        return start_bench(*arguments, cwd=folder, SLOW_SECONDS="0.25", SLOW_FILE=str(folder / "batches"))

    return start


def partial(folder: Path) -> Path | None:
    return next(folder.glob("results/records/*/*/*.partial.json"), None)


def begun(folder: Path) -> int:
    """Batches that a slow run has begun."""
    return (folder / "batches").stat().st_size if (folder / "batches").exists() else 0


def done(path: Path) -> int:
    return json.loads(path.read_text(encoding="utf-8"))["n_episodes"]


def without_times(path: Path) -> bytes:
    """A record's bytes without the section `timing`. The checkout may be edited while the tests run."""
    lines = path.read_bytes().splitlines(keepends=True)
    first = lines.index(b' "timing": {\n')
    last = lines.index(b" }\n", first) if b" }\n" in lines[first:] else lines.index(b" },\n", first)
    return b"".join(line for line in lines[:first] + lines[last + 1 :] if b'"git_dirty"' not in line)


def test_ctrl_c_then_a_kill_then_the_record_of_an_undisturbed_run(bench_many, start, wait_for, arguments, tmp_path: Path):
    folder = tmp_path / "disturbed"
    folder.mkdir()

    process = start(folder)
    wait_for(lambda: begun(folder) >= 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (130, "")
    interrupted = partial(folder)
    assert interrupted is not None
    count = done(interrupted)
    assert 2 * 64 <= count < EPISODES and count % 64 == 0
    assert (
        err.splitlines()[-1] == f"error: interrupted after {count} of {EPISODES} episodes; the same command goes on from there"
    )
    assert "Traceback" not in err

    process = start(folder)
    wait_for(lambda: done(interrupted) > count, process)  # work is written down every two seconds
    process.kill()
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGKILL
    assert f"resuming after {count} of {EPISODES} episodes" in err
    count = done(interrupted)
    assert count < EPISODES

    (tmp_path / "undisturbed").mkdir()
    resumed, undisturbed = bench_many([(arguments, folder), (arguments, tmp_path / "undisturbed")])
    assert resumed.code == undisturbed.code == 0
    assert f"resuming after {count} of {EPISODES} episodes" in resumed.err
    assert partial(folder) is None
    path, expected = folder / resumed.out.splitlines()[-1], tmp_path / "undisturbed" / undisturbed.out.splitlines()[-1]
    assert path.relative_to(folder) == expected.relative_to(tmp_path / "undisturbed")
    assert done(path) == EPISODES
    assert without_times(path) == without_times(expected)
    leftovers = [file.name for file in folder.rglob(".*")]
    assert leftovers == []
