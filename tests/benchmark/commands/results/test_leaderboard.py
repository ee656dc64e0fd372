"""`bench leaderboard` prints the boards, or writes them."""

import json
import re

import pytest
from typer.testing import CliRunner

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.records.store import write_record
from fewbench.core.errors import UsageError


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["leaderboard", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture
def folder(tmp_path, make_record, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_record(make_record([0.5] * 30), tmp_path / "results" / "records" / "a.json")
    write_record(make_record([0.6] * 30, task={"dataset": "cub-200"}), tmp_path / "results" / "records" / "b.json")
    write_record(make_record([0.7] * 30, name="maml"), tmp_path / "study" / "records" / "c.json")
    return tmp_path


def test_each_format_prints_the_boards_and_writes_nothing(folder):
    text = printed("--format", "text")
    assert "50.00 ± 0.00* (1)" in text and text.startswith("cub-200\n")
    markdown = printed("--format", "markdown", "--dataset", "omniglot")
    assert "**50.00 ± 0.00** <sub>1</sub>" in markdown and "cub-200" not in markdown
    assert r"\toprule" in printed("--format", "latex")
    assert len(printed("--format", "csv").splitlines()) == 3
    entries = json.loads(printed("--format", "json", "--include", "study"))
    paths = ["results/records/b.json", "study/records/c.json", "results/records/a.json"]
    assert [entry["record"] for entry in entries] == paths
    assert not (folder / "leaderboard.md").exists()


def test_rows_are_grouped_as_asked(folder):
    assert "method and backbone" in printed("--group-by", "setting")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "html"], "--format html: unknown; known: csv, json, latex, markdown, text"),
        (["--group-by", "methods"], "--group-by methods: unknown; did you mean 'method'?"),
        (["--dataset", "nowhere"], "no complete record is of dataset nowhere"),
        (["--dataset", "omniglot", "--check"], "--check compares the file; it does not go with"),
    ],
)
def test_what_cannot_be_printed_is_told(folder, options, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        printed(*options)
