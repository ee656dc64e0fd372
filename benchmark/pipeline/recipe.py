"""Recipes: what is trained, on which test episodes it is evaluated, and what the paper reports. One TOML file each.

summary = "ProtoNet with Conv-4 on Omniglot"
source = "Snell et al. 2017, arXiv:1703.05175, table 1"
budget = "about 40 minutes on two CPU cores"
differs = "6,000 training episodes"       # from the paper; may be left out
weights = "timm/resnet18.a1_in1k"         # what the training starts from; may be left out, or made by [pretrain],
after = "protonet-mini-imagenet-1shot"    # or by another recipe

[train]                                    # options of bench train; so has [pretrain] those of bench pretrain
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

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import UsageError, UserError, did_you_mean
from ...core.option_tables import options_of, read_table
from ..training.meta.train_config import TrainConfig
from ..training.pretrain_config import PretrainConfig
from .stages import Common, made_of, training_options

FOLDER = Path(__file__).parent / "recipes"
TEXTS = ("summary", "source", "budget", "differs")
TABLES = ("pretrain", "train", "evaluation")
VARYING = "meta-dataset"  # the sampler whose episodes have ways and shots of their own


@dataclass(frozen=True)
class Evaluation:
    """A task that a checkpoint is evaluated on, and the published number.

    Attributes:
        ways: classes an episode; None where they vary.
        shots: support images a class; None where they vary.
        queries: query images a class; of no meaning where they vary.
        episodes: of the test classes.
        seed: of the episodes.
        dataset: None: that of the training.
        sampler: uniform, or meta-dataset for varying ways and shots.
        tune: what the method may move; None: its default.
        published: accuracy in percent; None where there is none to compare with.
        interval: half-width of its 95 % interval in percent; None where it was not published.
        settings: parameters of the method that differ from those of the training.
    """

    ways: int | None = None
    shots: int | None = None
    queries: int = 15
    episodes: int = 10_000
    seed: int = 0
    dataset: str | None = None
    sampler: str = "uniform"
    tune: str | None = None
    published: float | None = None
    interval: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def varies(self) -> bool:
        """Whether ways and shots do."""
        return self.sampler == VARYING

    @property
    def task(self) -> str:
        """Such as `5-way 1-shot`, and what is not usual."""
        shape = "varying ways and shots" if self.varies else f"{self.ways}-way {self.shots}-shot"
        usual = self.varies or self.queries == Evaluation.queries
        queries = [] if usual else ["1 query" if self.queries == 1 else f"{self.queries} queries"]
        chosen = {} if self.tune is None else {"tune": self.tune}
        of_method = [f"{name}={value}" for name, value in {**chosen, **self.settings}.items()]
        return ", ".join([*([] if self.dataset is None else [self.dataset]), shape, *queries, *of_method])


@dataclass(frozen=True)
class Recipe:
    """A training with its evaluations.

    Attributes:
        name: of the file, and of the checkpoint.
        summary: method, backbone and data in a few words.
        source: of the published numbers.
        budget: what it takes, in words.
        differs: from the paper, in words; "" where nothing does.
        after: the recipe whose checkpoint the training starts from; None: of no other.
        pretrain: what makes the weights that the training starts from; None: nothing does.
        train: what is trained.
        stated: the options of the training that the recipe states, by name; the others are left to their defaults.
        stated_of_pretraining: the same of the pretraining.
        evaluations: at least one.
    """

    name: str
    summary: str
    source: str
    budget: str
    differs: str
    after: str | None
    pretrain: PretrainConfig | None
    train: TrainConfig
    stated: Mapping[str, Any]
    stated_of_pretraining: Mapping[str, Any]
    evaluations: tuple[Evaluation, ...]

    def checkpoint(self, results: Path) -> Path:
        """The weights file that the training makes, in a results folder."""
        return results / "checkpoints" / f"{self.name}.safetensors"

    def pretrained(self, results: Path) -> Path:
        """The weights file that the pretraining makes, in a results folder."""
        return results / "checkpoints" / f"{self.name}-pretrained.safetensors"

    def made(self, about: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's description is of this training: all that the recipe states is as it was.

        Of weights that it starts from, their name does not matter: the same file may come from the hub or by hand.
        """
        started = about.get("pretraining", {}).get("started_from") is not None
        return _states(self.stated, about) and started == any((self.train.weights, self.pretrain, self.after))

    def made_before(self, about: Mapping[str, Any]) -> bool:
        """Whether a description is of this recipe's pretraining."""
        return _states(self.stated_of_pretraining, about)


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
        return _recipe(name, read_table(path, str(path)), str(path))
    except UsageError as error:
        raise UserError(str(error)) from error  # the package's mistake, not the user's


def _recipe(name: str, content: dict[str, Any], where: str) -> Recipe:
    """Make a recipe of what its file says.

    Raises:
        UsageError: something is missing, unknown or of the wrong type.
    """
    texts = {key: content.pop(key, "" if key == "differs" else None) for key in TEXTS}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise UsageError(f"{where}: {key} is missing or not text")
    tables = {key: content.pop(key) for key in TABLES if key in content}
    weights, after = content.pop("weights", None), content.pop("after", None)
    if after is not None and (after not in names() or weights is not None or "pretrain" in tables):
        raise UsageError(f"{where}: after names another recipe, in place of weights and [pretrain]")
    evaluations = tables.get("evaluation")
    if content or "train" not in tables or not isinstance(evaluations, list) or not evaluations:
        unknown = ", ".join(content) or "anything else"
        raise UsageError(f"{where}: it needs [train] and [[evaluation]], and has no place for {unknown}")
    pretrain, train = training_options(tables, Common(weights=weights), where)
    assert train is not None
    return Recipe(
        name,
        **texts,
        after=after,
        pretrain=None if pretrain is None else made_of(PretrainConfig, pretrain, f"{where}: [pretrain]"),
        train=made_of(TrainConfig, train, f"{where}: [train]"),
        stated={key: value for key, value in train.items() if key != "weights"},
        stated_of_pretraining=pretrain or {},
        evaluations=tuple(_evaluation(one, f"{where}: [[evaluation]]") for one in evaluations),
    )


def _evaluation(table: Mapping[str, Any], where: str) -> Evaluation:
    evaluation = Evaluation(**options_of(table, Evaluation, where))
    for name in ("ways", "shots"):
        if (getattr(evaluation, name) is None) != evaluation.varies:
            raise UsageError(f"{where} has {name} that vary" if evaluation.varies else f"{where} lacks {name}")
    return evaluation


def _states(stated: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether all that is stated of a training is so in a description's configuration."""
    config = about.get("made_by", {}).get("config", {})
    options = {name: value for name, value in stated.items() if name != "settings"}
    settings = config.get("settings", {})
    return all(config.get(name) == value for name, value in options.items()) and all(
        name in settings and settings[name] == value for name, value in stated.get("settings", {}).items()
    )
