import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fewbench.benchmark.records import provenance
from fewbench.core.decoding import encode


def test_versions_of_distributions():
    assert provenance.package_version("torch") == torch.__version__.partition("+")[0] or torch.__version__
    assert provenance.package_version("no-such-distribution") is None


def test_the_environment_names_versions_and_hardware_but_no_person_or_place():
    found = provenance.environment(torch.device("cpu"))
    assert found.python == platform.python_version()
    assert found.device == "cpu" and found.threads == torch.get_num_threads()
    assert set(found.packages) == set(provenance.PACKAGES) and found.packages["torch"]
    text = json.dumps(encode(found))
    assert platform.node() not in text or len(platform.node()) < 4
    assert str(Path.home()) not in text and str(Path.cwd()) not in text


def test_the_command_is_told_without_the_programs_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/bench", "run", "--shots", "5"])
    assert provenance.command_line() == ["bench", "run", "--shots", "5"]


def test_the_time_is_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", provenance.utc_now())


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose folder benchmark/ holds the code that asks for its version."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for folder in provenance.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "benchmark" / "records" / "provenance.py"))
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def version() -> tuple[str | None, bool | None]:
    found = provenance.code_version()
    return found.git_commit, found.git_dirty


def test_a_checkout_tells_its_commit_and_whether_the_code_was_changed(checkout: Path):
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "first")
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "results.json").touch()  # a result does not change the code
    assert version() == (commit, False)
    (checkout / "methods" / "code.py").write_text("changed = True")
    assert version() == (commit, True)


def test_outside_a_checkout_there_is_no_commit(checkout: Path):
    git(checkout.parent, "init", "--quiet", str(checkout / "inner"))  # a repository elsewhere is none of this code
    assert version() == (None, None)


def test_a_checkout_without_git_on_the_machine_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    git(checkout, "init", "--quiet")
    monkeypatch.setenv("PATH", "")
    assert version() == (None, None)


def test_the_command_line_names_no_folder_of_the_machine(monkeypatch):
    typed = [
        "/opt/venv/bin/bench",
        "run",
        "--weights",
        "/data/of me/w.pt",
        "--set=dataset.root=/data/photos",
        "--results",
        "mine/r",
    ]
    monkeypatch.setattr(provenance.sys, "argv", typed)
    assert provenance.command_line() == [
        *("bench", "run", "--weights", "w.pt", "--set=dataset.root=photos", "--results", "mine/r"),
    ]
