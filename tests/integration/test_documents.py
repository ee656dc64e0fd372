"""What is generated in the repository is what the committed records say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ("results", "docs", "README.md", "leaderboard.md")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages and records without those of runs that were made in the clone since."""
    if shutil.which("git") is None:
        return ROOT
    listed = subprocess.run(["git", "ls-files", "-z", *GENERATED], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listed.returncode:  # no clone: every file is one that came with the sources
        return ROOT
    copy = tmp_path_factory.mktemp("repository")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.mark.parametrize(
    "command",
    [
        ["leaderboard", "--check"],
        ["table", "docs/ablation.md", "--check"],
        ["table", "docs/acquisition.md", "--check"],
        ["table", "docs/activation.md", "--check"],
        ["table", "docs/clip.md", "--check"],
        ["table", "docs/decodability.md", "--check"],
        ["table", "docs/noisy-and-unlabelled.md", "--check"],
        ["table", "docs/private.md", "--check"],
        ["table", "docs/pretraining.md", "--check"],
        ["table", "docs/published.md", "--check"],
        ["table", "docs/semantic.md", "--check"],
        ["table", "docs/transduction.md", "--check"],
        ["table", "README.md", "--check"],
        ["reproduce", "--page", "docs/reproduction.md", "--check"],
    ],
    ids=lambda command: " ".join(command),
)
def test_a_generated_page_is_up_to_date(command: list[str], bench_here, repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(repository)
    done = bench_here(*command)
    assert done.code == 0, done.err
