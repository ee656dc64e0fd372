"""README.md and the pages of docs/: their commands, blocks and text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
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

    @property
    def complete(self) -> bool:
        """Whether it can be typed as it stands: it is in a block, or a sentence of the README names it with its options."""
        return self.fenced or (self.page == "README.md" and ("--" in self.text or self.text == "bench env"))


def commands() -> Iterator[Command]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in (block for language, block in FENCED.findall(text) if language in ("", "sh")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&& |; do |; done", line.partition("  #")[0]):
                    if part.strip().startswith(("bench ", "cp ")) and "COMMAND" not in part:
                        yield Command(page.name, " ".join(part.split()), fenced=True)
        for found in INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if "COMMAND" not in found:
                yield Command(page.name, " ".join(found.split()), fenced=False)


COMMANDS = list(commands())


def flowing(page: str) -> str:
    """The text of a page in one line."""
    return " ".join(next(path for path in PAGES if path.name == page).read_text(encoding="utf-8").split())


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page."""
    text = next(path for path in PAGES if path.name == page).read_text(encoding="utf-8")
    return [dedent(block) for found, block in FENCED.findall(text) if found == language]
