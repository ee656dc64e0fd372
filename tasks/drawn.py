"""Checks of what the sampler of a plug-in draws; those of this package have tests."""

from __future__ import annotations

import numpy as np

from ..core.errors import UserError
from .episodes import ABSENT, EpisodeBatch

LABELLED = ("support", "support_labels", "query", "query_labels", "classes")


def check_form(drawn: object, start: int, stop: int, owner: str) -> EpisodeBatch:
    """Check that a batch holds the episodes that were asked for, as arrays of whole numbers, and return it.

    Args:
        drawn: of `Sampler.draw_chunk`.
        start: number of the first episode.
        stop: number after the last one.
        owner: who drew it, for the message ("sampler mine.py:Mine").

    Raises:
        UserError: it is of another form; the message says what was given and what is expected.
    """
    if not isinstance(drawn, EpisodeBatch):
        raise UserError(f"{owner}: draw_chunk returned {type(drawn).__name__}; expected an EpisodeBatch")
    for name in (*LABELLED, "index"):
        value, dimensions = getattr(drawn, name), 1 if name == "index" else 2
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim != dimensions:
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
            form = "[E]" if dimensions == 1 else "[E, …]"
            raise UserError(f"{owner}: {name} of a batch is {got}; expected an array of whole numbers {form}")
        if len(value) != stop - start:
            raise UserError(f"{owner}: draw_chunk({start}, {stop}) gives {len(value)} rows of {name}; expected {stop - start}")
    for name in ("support", "query"):
        rows, labels = getattr(drawn, name).shape, getattr(drawn, f"{name}_labels").shape
        if rows != labels:
            raise UserError(f"{owner}: {name} is {list(rows)} and {name}_labels {list(labels)}; expected the same shape")
    if (drawn.index != np.arange(start, stop)).any():
        raise UserError(f"{owner}: draw_chunk({start}, {stop}) gives episodes of other numbers; expected {start} to {stop - 1}")
    return drawn


def check_rows(drawn: EpisodeBatch, offsets: np.ndarray) -> None:
    """Check that every image is of the class that its label names, and that no query is among the support.

    Args:
        drawn: a batch whose labels and rows exist (`check_tasks`).
        offsets: int64 [C + 1], as of a `Sampler`.

    Raises:
        UserError: an episode breaks this; the message names the first one.
    """
    classes = len(offsets) - 1
    if (drawn.classes >= classes).any() or (drawn.classes < ABSENT).any():
        place = ((drawn.classes >= classes) | (drawn.classes < ABSENT)).any(axis=1).argmax()
        raise UserError(f"task {drawn.index[place]} names a class that is not one of the {classes} of this split")
    for rows, labels in ((drawn.support, drawn.support_labels), (drawn.query, drawn.query_labels)):
        named = np.take_along_axis(drawn.classes, labels.clip(min=0), axis=1)
        wrong = (labels != ABSENT) & (np.searchsorted(offsets, rows, side="right") - 1 != named)
        if wrong.any():
            task, place = np.argwhere(wrong)[0]
            raise UserError(f"task {drawn.index[task]}: image {rows[task, place]} is not of class {named[task, place]} here")
    number = np.arange(len(drawn))[:, None] * int(offsets[-1])
    asked, shown = drawn.query_labels != ABSENT, drawn.support_labels != ABSENT
    known = asked & np.isin(drawn.query + number, (drawn.support + number)[shown])
    if known.any():
        task, place = np.argwhere(known)[0]
        raise UserError(f"task {drawn.index[task]}: image {drawn.query[task, place]} is a query and in the support")
