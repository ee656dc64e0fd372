"""Ctrl-C, put off while a step is under way: what is saved then is the state after a whole step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Interruptions:
    """A context in which `held` blocks are not interrupted. Outside them Ctrl-C raises KeyboardInterrupt as ever."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self._asked = self._holding = self._installed = False

    def __enter__(self) -> Self:
        """Take over from Python's own handler; another one (or none, under nohup) is left alone."""
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        """Give back."""
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block end before a Ctrl-C counts."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._asked:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on Ctrl-C does nothing: the end is being written down."""
        self._holding = True

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if not self._holding:
            raise KeyboardInterrupt
