"""Runs real commands in this process, with a limit on their time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import pytest
import typer

from fewbench.benchmark.commands import main as main_module

SECONDS = 20  # that any refusal may take
LONGEST = 700  # characters of a message


class Done(NamedTuple):
    """What a command left: its exit code, and what it wrote."""

    code: int
    output: str
    error: str

    @property
    def message(self) -> str:
        """What it said of its failure: one line, which any terminal shows."""
        assert self.code in (1, 2), self
        (line,) = [line for line in self.error.splitlines() if line.startswith("error: ")]
        assert line.isprintable() and len(line) < LONGEST, line
        return line


@contextmanager
def limited() -> Iterator[None]:
    """Fail a test that waits for what never comes."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def commands() -> Any:
    """The commands with their options, made of the code once: for a refusal that takes most of the time."""
    return typer.main.get_command(main_module.app)


@pytest.fixture
def bench(commands: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run `bench …` as typed, in this process."""
    monkeypatch.setattr(main_module, "app", commands)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught, limited():
            main_module.main()
        output, error = capsys.readouterr()
        assert "Traceback" not in error
        return Done(int(caught.value.code or 0), output, error)

    return run
