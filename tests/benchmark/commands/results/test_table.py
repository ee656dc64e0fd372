from pathlib import Path

import pytest
from typer.testing import CliRunner

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.records.store import write_record

BLOCK = "<!-- table: records=records/*.json rows=method.name columns=task.shots -->\n<!-- /table -->\n"


@pytest.fixture
def pages(record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two pages with a table each, in the current folder, beside a record."""
    monkeypatch.chdir(tmp_path)
    write_record(record, Path("records/one.json"))
    for name in ("a.md", "b.md"):
        Path(name).write_text(BLOCK, encoding="utf-8")
    return ["a.md", "b.md"]


def test_pages_are_filled_and_named(pages: list[str]):
    done = CliRunner().invoke(app, ["table", *pages])
    assert (done.exit_code, done.stdout) == (0, "a.md\nb.md\n")
    assert all("| protonet | 62.13 (too few episodes: 10) |" in Path(name).read_text(encoding="utf-8") for name in pages)


def test_check_exits_1_and_names_what_is_stale(pages: list[str]):
    CliRunner().invoke(app, ["table", "a.md"])
    found = CliRunner().invoke(app, ["table", "--check", *pages])
    assert (found.exit_code, found.stderr) == (1, "b.md is stale; run 'bench table b.md'\n")
    assert Path("b.md").read_text(encoding="utf-8") == BLOCK
    assert CliRunner().invoke(app, ["table", "--check", "a.md"]).exit_code == 0
