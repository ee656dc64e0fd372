"""Every command of README.md and docs/ is one that `bench` takes: its options, and values of the right types."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from fewbench.benchmark.commands.main import app
from fewbench.benchmark.config import RunConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(bench [^`]+)`")


class Command(NamedTuple):
    """A command of a page.

    Attributes:
        page: name of its file.
        text: as it stands there, without its comment.
        fenced: whether it stands in a block, not within a sentence.
    """

    page: str
    text: str
    fenced: bool

    @property
    def words(self) -> list[str]:
        """What the shell hands over, without `bench`."""
        return shlex.split(self.text)[1:]


def commands() -> Iterator[Command]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in (block for language, block in FENCED.findall(text) if language in ("", "sh")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&& |; do |; done", line.partition("  #")[0]):
                    if part.strip().startswith("bench ") and "COMMAND" not in part:
                        yield Command(page.name, " ".join(part.split()), fenced=True)
        for found in INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if "COMMAND" not in found:
                yield Command(page.name, " ".join(found.split()), fenced=False)


COMMANDS = list(commands())


def test_no_commands_are_overlooked():
    lines = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    starting = [line for line in lines if re.match(r" *(?:pip install \. && |for .*; do )?bench [a-z]", line)]
    assert sum(command.fenced for command in COMMANDS) >= len([line for line in starting if "`" not in line]) > 60


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}")
def test_bench_takes_the_command(command: Command):
    group, words = typer.main.get_command(app), [word for word in command.words if word != "…"]
    name = "bench"
    while hasattr(group, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in group.commands, f"bench has no {name}"  # type: ignore[attr-defined]
        group = group.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*known, "--help"}
    if command.fenced:
        group.make_context(name, list(words))  # values of the right types, and nothing needed is left out


def test_the_first_run_is_what_the_readme_says():
    config = RunConfig(method="protonet", shots=1)
    readme = " ".join(PAGES[0].read_text(encoding="utf-8").split())
    assert f"classifies {config.episodes:,} {config.ways}-way {config.shots}-shot episodes" in readme
