"""Recipes: what is trained, on which test episodes it is evaluated, and what the paper reports. One TOML file each.

summary = "ProtoNet with Conv-4 on Omniglot"
source = "Snell et al. 2017, arXiv:1703.05175, table 1"
budget = "about 40 minutes on two CPU cores"
differs = "6,000 training episodes"       # from the paper; may be left out

[train]                                    # options of bench train
method = "protonet"
dataset = "omniglot"
[train.set]                                # its --set
"backbone.width" = 64

[[evaluation]]                             # options of bench run, of one checkpoint as many as wanted
ways = 5
shots = 1
queries = 15
episodes = 10000
seed = 0
published = 98.8                           # percent; may be left out, and so may the half-width of its interval:
interval = 0.4
[evaluation.set]                           # its --set
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...tasks.errors import UsageError, UserError, did_you_mean
from ...tasks.parameters import convert
from ..training.train_config import TrainConfig

FOLDER = Path(__file__).parent / "recipes"
LEFT_TO_THE_CALL = ("device",)  # options of bench train that no recipe has


@dataclass(frozen=True)
class Evaluation:
    """A task that a checkpoint is evaluated on, and the published number.

    Attributes:
        ways: classes an episode.
        shots: support images a class.
        queries: query images a class.
        episodes: of the test classes.
        seed: of the episodes.
        published: accuracy in percent; None where there is none to compare with.
        interval: half-width of its 95 % interval in percent; None where it was not published.
        settings: parameters of the method that differ from those of the training.
    """

    ways: int
    shots: int
    queries: int = 15
    episodes: int = 10_000
    seed: int = 0
    published: float | None = None
    interval: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """Such as `5-way 1-shot`."""
        of_method = "".join(f", {name}={value}" for name, value in self.settings.items())
        return f"{self.ways}-way {self.shots}-shot{of_method}"


@dataclass(frozen=True)
class Recipe:
    """A training with its evaluations.

    Attributes:
        name: of the file, and of the checkpoint.
        summary: method, backbone and data in a few words.
        source: of the published numbers.
        budget: what it takes, in words.
        differs: from the paper, in words; "" where nothing does.
        train: what is trained.
        stated: the options of the training that the recipe states, by name; the others are left to their defaults.
        evaluations: at least one.
    """

    name: str
    summary: str
    source: str
    budget: str
    differs: str
    train: TrainConfig
    stated: Mapping[str, Any]
    evaluations: tuple[Evaluation, ...]

    def checkpoint(self, results: Path) -> Path:
        """The weights file that the training makes, in a results folder."""
        return results / "checkpoints" / f"{self.name}.safetensors"

    def made(self, about: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's description is of this training: all that the recipe states is as it was."""
        config = about.get("made_by", {}).get("config", {})
        stated = {name: value for name, value in self.stated.items() if name != "settings"}
        settings = config.get("settings", {})
        return all(config.get(name) == value for name, value in stated.items()) and all(
            name in settings and settings[name] == value for name, value in self.stated.get("settings", {}).items()
        )


def names() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def all_recipes() -> list[Recipe]:
    """All recipes, in the order of their names."""
    return [load(name) for name in names()]


def load(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        UsageError: there is none of that name.
        UserError: its file is not as a recipe should be.
    """
    if name not in names():
        raise UsageError(f"unknown recipe '{name}'; {did_you_mean(name, names())} (bench reproduce --list)")
    path = FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    try:
        return _recipe(name, content)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


def _recipe(name: str, content: dict[str, Any]) -> Recipe:
    """Make a recipe of what its file says.

    Raises:
        ValueError: something is missing, unknown or of the wrong type.
    """
    texts = {key: content.pop(key, "" if key == "differs" else None) for key in ("summary", "source", "budget", "differs")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{key} is missing or not text")
    training, evaluations = content.pop("train", None), content.pop("evaluation", None)
    if content or not isinstance(training, dict) or not isinstance(evaluations, list) or not evaluations:
        raise ValueError(f"it needs [train] and [[evaluation]], and has no place for {', '.join(content) or 'anything else'}")
    stated = _options(training, TrainConfig, "[train]", LEFT_TO_THE_CALL)
    several = tuple(Evaluation(**_options(one, Evaluation, "[[evaluation]]")) for one in evaluations)
    return Recipe(name, train=TrainConfig(**stated), stated=stated, evaluations=several, **texts)


def _options(table: Mapping[str, Any], cls: type, where: str, without: Iterable[str] = ()) -> dict[str, Any]:
    """A table's values as fields of a dataclass: keys with dashes are names with underscores, and `set` is `settings`."""
    hints, found = typing.get_type_hints(cls), {}
    known = {one.name: one for one in fields(cls) if one.name not in without}
    for key, value in table.items():
        name = "settings" if key == "set" else key.replace("-", "_")
        if name not in known:
            raise ValueError(f"{where} has no option '{key}'; {did_you_mean(name, known)}")
        try:
            found[name] = dict(value) if name == "settings" else convert(value, hints[name])
        except ValueError:
            raise ValueError(f"{where}: {key} = {value!r} is of the wrong type") from None
    for name, one in known.items():
        if name not in found and one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
    return found
