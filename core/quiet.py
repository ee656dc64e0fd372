"""Keeps other libraries quiet while they do something whose news are no news here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(logger: logging.Logger, below: int = logging.CRITICAL) -> Iterator[None]:
    """Let a logger say nothing below a level, for as long as the block runs."""
    before = logger.level
    logger.setLevel(below)
    try:
        yield
    finally:
        logger.setLevel(before)
