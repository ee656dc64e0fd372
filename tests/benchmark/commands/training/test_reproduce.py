from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark.commands.main import app
from fewbench.core.errors import UsageError


@pytest.fixture(autouse=True)
def folder(reproductions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a page; the reproductions are one that takes a second."""
    (tmp_path / "page.md").write_text("<!-- reproduction:begin -->\n<!-- reproduction:end -->\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["reproduce", *arguments])


def test_a_reproduction_is_run_listed_and_put_on_the_page(folder: Path):
    assert "not run yet" in invoke("--list").stdout
    done = invoke("quick", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "above" in done.stdout and Path(done.stdout.splitlines()[-1]).is_file()
    assert "trained, 2 of 2 evaluated" in invoke("--list").stdout
    stale = invoke("--page", "page.md", "--check")
    assert (stale.exit_code, stale.stderr) == (1, "page.md is stale; run 'bench reproduce --page page.md'\n")
    assert invoke("--page", "page.md").stdout == "page.md\n"
    assert "| quick | 5-way 1-shot, 5 queries | inductive | 40.0 ± 3.0 |" in Path("page.md").read_text(encoding="utf-8")
    assert invoke("--page", "page.md", "--check").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["quick", "--all"], ["--list", "--page", "page.md"]])
def test_one_thing_at_a_time(arguments: list[str]):
    done = invoke(*arguments)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "bench reproduce takes names of reproductions, or one of --all, --list and --page FILE"


def test_check_goes_with_a_page():
    assert str(invoke("--list", "--check").exception) == "--check goes with --page FILE"


def test_an_unknown_reproduction_stops_before_the_first_is_run(folder: Path):
    assert isinstance(invoke("quick", "quack").exception, UsageError)
    assert not (folder / "results").exists()
