"""How the user says what images are made into: `--set backbone.size=128`, also channels, mean and std."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from ...tasks.errors import UsageError
from .base import Preprocess

NAMES = tuple(field.name for field in fields(Preprocess))


def apart(settings: Mapping[str, Any], own: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of images, and those of the network: a parameter that the network has itself (`own`) is the network's."""
    of_images = {name: value for name, value in settings.items() if name in NAMES and name not in own}
    return of_images, {name: value for name, value in settings.items() if name not in of_images}


def changed_by(preprocess: Preprocess, settings: Mapping[str, Any], owner: str) -> tuple[Preprocess, dict[str, Any]]:
    """Replace parts of a preprocessing.

    Args:
        preprocess: what holds where nothing is set.
        settings: `channels`, `size`, `mean` or `std` to text or typed values; one mean or std is that of every channel.
        owner: for the message ("backbone conv4").

    Returns:
        The new preprocessing, and the settings as JSON can hold them.

    Raises:
        UsageError: a value is out of range.
    """
    typed = {name: _number(name, value, owner) if name in ("channels", "size") else _numbers(name, value, owner)
             for name, value in settings.items()}
    channels = typed.get("channels", preprocess.channels)
    if channels not in (1, 3):
        raise UsageError(f"{owner}: channels={channels}: 1 or 3")
    statistics = {}
    for name, default in (("mean", preprocess.mean), ("std", preprocess.std)):
        values = typed.get(name, list(default))
        if name not in typed and len(values) != channels:
            values = [sum(values) / len(values)]  # of colours for grey
        if len(values) not in (1, channels):
            raise UsageError(f"{owner}: {name}={settings[name]}: one number or {channels}, one a channel")
        statistics[name] = tuple(values * (channels // len(values)))
    if min(statistics["std"]) <= 0:
        raise UsageError(f"{owner}: std={settings['std']}: above 0")
    return Preprocess(channels, typed.get("size", preprocess.size), statistics["mean"], statistics["std"]), typed


def _number(name: str, value: Any, owner: str) -> int:
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
