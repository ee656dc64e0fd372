"""Names of files and folders that hold a newline or markup: what is printed of them stays on its line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMANDS = Path(__file__).parents[2] / "benchmark" / "commands"
ODD = "a\n[b]\x1b[1m\u2028c"
SHOWN = r"a\n[b]\x1b[1m\u2028c"
FEW = ("--shots", "1", "--queries", "3", "--episodes", "4", "--device", "cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six images, and a file that is left out, all under odd names."""
    root = tmp_path / ODD / "photos"
    for number in range(2):
        folder = root / f"{ODD}{number}"
        folder.mkdir(parents=True)
        for row in range(6):
            pixels = np.full((8, 8, 3), 20 * row + 100 * number, np.uint8)
            Image.fromarray(pixels).save(folder / f"{row}{ODD}.png")
        (folder / f"x.{ODD}").touch()
    return root


def lines_with_names(text: str) -> list[str]:
    """The lines that are no bars, each of which a terminal shows as one."""
    lines = [line.rstrip() for line in text.split("\n") if line and "━" not in line]
    assert all(line.isprintable() for line in lines), lines
    return [line for line in lines if SHOWN in line]


def test_what_a_run_prints(photos: Path, bench, tmp_path: Path):
    results = tmp_path / ODD / "results"
    done = bench("run", "--dataset", "folder", "--set", f"dataset.root={photos}", "--set", "dataset.size=8", "--ways", "2",
                 "--method", "protonet", "--weights", "conv4-trifeature", *FEW, "--output", results)  # fmt: skip
    assert done.code == 0, done.error
    (record,) = lines_with_names(done.output)
    assert record.endswith(".json")
    (found,) = (line for line in lines_with_names(done.error) if "2 classes, 12 images" in line)
    assert "left out: 2 ." in found
    listed = bench("list", "results", "--results", results)
    assert len(lines_with_names(listed.output)) == 1
    board = bench("leaderboard", "--results", results, "--output", tmp_path / f"{ODD}.md")
    assert len(lines_with_names(board.output)) == 1
    assert len(lines_with_names(bench("data", "list").output)) == 1


def test_a_picture_that_is_none(photos: Path, bench):
    (photos / f"{ODD}0" / f"9{ODD}.png").write_bytes(b"no picture")
    done = bench("data", "prepare", "folder", "--set", f"root={photos}")
    assert SHOWN in done.message


def test_commands_print_lines_in_one_way():
    """Whatever a command prints goes through `say` or a table, which escape; help and JSON have lines of their own."""
    printing = re.compile(r"(?:typer\.echo|\bprint)\((?!inspect\.getdoc|\"\\n\"\.join\(lines\)|json_module\.dumps)")
    found = {path.name for path in COMMANDS.glob("*.py") if printing.search(path.read_text(encoding="utf-8"))}
    assert found <= {"lines.py", "terminal.py"}
