"""Progress of long work. The command line shows bars; a library call is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """A listener for long work.

    Attributes:
        verbose: whether the user asked for speeds.
    """

    verbose: bool

    def track(self, description: str, total: int, unit: str = "") -> AbstractContextManager[Advance]:
        """Open a bar over `total` steps and yield a function that advances it by a number of steps.

        Args:
            description: name of the work.
            total: number of steps.
            unit: name of a step ("images"), where steps per second are worth showing.
        """
        ...

    def say(self, message: str) -> None:
        """Tell the user one line."""
        ...


class SilentProgress:
    """A listener that shows nothing."""

    verbose = False

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        """Yield a function that does nothing."""
        yield lambda steps: None

    def say(self, message: str) -> None:
        """Drop the message."""


SILENT = SilentProgress()
