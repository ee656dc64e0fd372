"""How the user says what images are made into: `--set backbone.size=128`, also channels, mean and std."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from ...core.errors import UsageError, UserError, listed
from ...core.options import Settings
from .base import Preprocess

LARGEST = 4_096  # pixels a side
NAMES = tuple(field.name for field in fields(Preprocess))


def apart(settings: Settings, own: Iterable[str]) -> tuple[Settings, Settings]:
    """The settings of images, and those of the network: a parameter that the network has itself (`own`) is the network's."""
    of_images = {name: value for name, value in settings.items() if name in NAMES and name not in own}
    return of_images, {name: value for name, value in settings.items() if name not in of_images}


def changed_by(preprocess: Preprocess, settings: Settings, owner: str) -> tuple[Preprocess, Settings]:
    """Replace parts of a preprocessing.

    Args:
        preprocess: what holds where nothing is set.
        settings: `channels`, `size`, `mean` or `std` to text or typed values; one mean or std is that of every channel.
        owner: for the message ("backbone conv4").

    Returns:
        The new preprocessing, and the settings as JSON can hold them.

    Raises:
        UsageError: a value is out of range.
        UserError: a plug-in gives no preprocessing.
    """
    if not isinstance(preprocess, Preprocess):  # of a plug-in
        raise UserError(f"{owner}: preprocess gives {type(preprocess).__name__}; expected a Preprocess")
    whole = {name: _whole(name, settings[name], owner) for name in ("channels", "size") if name in settings}
    lists = {name: _numbers(name, settings[name], owner) for name in ("mean", "std") if name in settings}
    channels, size = whole.get("channels", preprocess.channels), whole.get("size", preprocess.size)
    for name, values in lists.items():
        if len(values) not in (1, channels):
            raise UsageError(f"{owner}: {name}={settings[name]}: one number or {channels}, one a channel")
    mean, std = (
        _a_channel(lists.get(name, default), channels) for name, default in (("mean", preprocess.mean), ("std", preprocess.std))
    )
    changed = Preprocess(channels, size, mean, std)
    if problem := problem_of(changed):
        raise UsageError(f"{owner}: {problem}")
    recorded = {**whole, **{name: values[0] if len(values) == 1 else values for name, values in lists.items()}}
    return changed, recorded


def problem_of(preprocess: Preprocess) -> str | None:
    """The first value that no preprocessing of images has, such as "size=0: 1 to 4,096"; None: all are in range."""
    channels, size = preprocess.channels, preprocess.size
    if channels not in (1, 3):
        return f"channels={channels}: 1 or 3"
    if not 1 <= size <= LARGEST:
        return f"size={size}: 1 to {LARGEST:,}"
    for name in ("mean", "std"):
        values = getattr(preprocess, name)
        if len(values) != channels or not all(abs(value) < float("inf") for value in values):
            return f"{name}={_short(values)}: one finite number or {channels}, one a channel"
    return None if min(preprocess.std) > 0 else f"std={_short(preprocess.std)}: above 0"


def _short(values: Sequence[float]) -> str:
    return listed((f"{value:g}" for value in values), 4) or "nothing"


def _a_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """As many numbers as channels, where one stands for all; grey gets the mean of the colours'."""
    if len(values) == 1 or channels == 1:
        return (sum(values) / len(values),) * channels
    return tuple(values)


def _whole(name: str, value: Any, owner: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or isinstance(value, float):
        raise UsageError(f"{owner}: {name}={value}: a whole number of at least 1")
    return number


def _numbers(name: str, value: Any, owner: str) -> list[float]:
    try:
        content = ast.literal_eval(value) if isinstance(value, str) else value
        numbers = [float(number) for number in (content if isinstance(content, list | tuple) else [content])]
    except (ValueError, SyntaxError, TypeError):
        numbers = []
    if not numbers or not all(abs(number) < float("inf") for number in numbers):
        raise UsageError(f"{owner}: {name}={value}: one number for every channel, or one each, such as 0.5,0.5,0.5")
    return numbers
