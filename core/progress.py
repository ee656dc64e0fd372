"""How long work reports itself without knowing who listens. The command line shows bars; a library call is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """A listener for long work.

    Attributes:
        verbose: whether the user wants to know how fast things went.
    """

    verbose: bool

    def track(self, description: str, total: int, unit: str = "") -> AbstractContextManager[Advance]:
        """Open a bar over `total` steps; the value yielded is called with each number of steps done.

        Args:
            description: what is done.
            total: steps there are.
            unit: what a step is ("images"), where its number per second is worth showing.
        """
        ...

    def say(self, message: str) -> None:
        """Tell the user one line."""
        ...


class SilentProgress:
    """The listener that shows nothing."""

    verbose = False

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        """Yield a function that does nothing."""
        yield lambda steps: None

    def say(self, message: str) -> None:
        """Drop the message."""


SILENT = SilentProgress()
