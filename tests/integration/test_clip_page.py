"""The commands of docs/clip.md, run offline as they stand but with fewer episodes, also to choose on, and classes."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.records.store import load_records
from fewbench.benchmark.text.prompts import NAMES, OF_DATASET
from fewbench.methods.base import Method

PAGE = (Path(__file__).parents[2] / "docs" / "clip.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
NEEDS_A_DOWNLOAD = "open_clip:"
FEW = ("--episodes", "20", "--queries", "15", "--device", "cpu")


def arguments(command: str, folder: Path) -> list[str]:
    """What the shell would hand over: words, and in the place of patterns the files that they match."""
    words = [
        found
        for word in shlex.split(command)[1:]
        for found in (sorted(glob.glob(word, root_dir=folder)) if "*" in word else [word])  # noqa: PTH207
    ]
    return [*words, *FEW] if words[0] == "run" else words


def test_the_pages_commands_run_offline_in_their_order(
    bench_here: Callable[..., Any], small_datasets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(Method, "choice_episodes", 20)
    (tmp_path / "names.csv").write_text("class_id,name\nred-solid-disc,red disc\n", encoding="utf-8")
    commands = [command for command in COMMANDS if NEEDS_A_DOWNLOAD not in command]
    assert len(commands) == 7 and len(COMMANDS) == 8
    for command in commands:
        done = bench_here(*arguments(command, tmp_path))
        assert done.code == 0, f"{command}: {done.err}"
    records = [record for _, record in load_records(tmp_path / "my-results")[0]]
    backbones = {record.method.name: record.backbone.name for record in records}
    assert backbones == {
        "clip-zero-shot": "clip-tiny",
        "proto+text": "clip-tiny",
        "tip-adapter": "clip-tiny",
        "linear-probe": "clip-tiny",
        "protonet": "conv4",
    }
    zero_shot = [record for record in records if record.method.name == "clip-zero-shot"]
    assert sorted(str(record.method.text and record.method.text.prompts) for record in zero_shot) == [
        "ensemble",
        "single",
        "single",
    ]
    hashes = {record.method.text and record.method.text.names_sha256 for record in zero_shot}
    assert len(hashes) == 2  # the dataset's names, and the file's
    chosen = {record.method.name for record in records if record.method.chosen is not None}
    assert chosen == {"proto+text", "tip-adapter", "linear-probe"}
    assert {path.name for path in (tmp_path / "my-results" / "figures").iterdir()} == {"prompts.svg", "shots.svg"}


def test_the_pages_tables_have_what_there_is():
    first_column = set(re.findall(r"^\| ([^|]+?) \|", PAGE, re.MULTILINE))
    listed = {name for cell in first_column for name in cell.split(", ")}
    assert {*NAMES, *OF_DATASET, "others"} <= listed
    assert {"clip-zero-shot", "linear-probe", "proto+text", "tip-adapter", "tip-adapter-f", "clip-adapter", "coop"} <= listed
