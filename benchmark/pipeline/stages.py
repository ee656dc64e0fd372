"""What a pipeline file says: stages, each with the options of its command, and what they have in common.

dataset = "cifar-fs"            # of every stage that names none itself; so are backbone and seed
backbone = "conv4"
seed = 0
weights = "FILE"                # what the first stage starts from, in place of [pretrain]

[pretrain]                      # P: options of bench pretrain
epochs = 30
[pretrain.set]                  # its --set
"backbone.width" = 64

[train]                         # M: options of bench train; starts from P, or from the weights
steps = 10000

[[run]]                         # F and evaluation: options of bench run, as many tables as wanted; a list makes a grid
after = "train"                 # pretrain: takes what P made, although there is M; default: the last of them
shots = [1, 5]
[run.set]
steps = 50

Any stage may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import UsageError, did_you_mean
from ...core.option_tables import check_complete, options_of, read_table
from ..config import GRID, RunConfig, grid
from ..training.meta.train_config import TrainConfig
from ..training.pretrain_config import PretrainConfig

T = TypeVar("T")
WEIGHTS_ABOVE = "weights stands at the top of the file"
TO_THE_COMMAND = {name: f"it is an option of the command, --{name}" for name in ("device", "overwrite")}
ELSEWHERE = {  # options that the table of a stage has no place for
    "pretrain": TO_THE_COMMAND,
    "train": {**TO_THE_COMMAND, "weights": WEIGHTS_ABOVE},
    "run": {
        **TO_THE_COMMAND,
        "output": "it is an option of the command, --output",
        "weights": WEIGHTS_ABOVE,
        "checkpoint": "a run takes that of [train]",
    },
}


@dataclass(frozen=True)
class Common:
    """What stages have in common.

    Attributes:
        dataset: of stages that name none.
        backbone: of stages that name none.
        seed: of stages that name none.
        weights: what the first stage starts from, instead of [pretrain].
    """

    dataset: str | None = None
    backbone: str | None = None
    seed: int | None = None
    weights: str | None = None

    def options(self, made: str | None) -> dict[str, Any]:
        """Those of a stage; `made` is the backbone of the stage before it, which it takes over."""
        found = {"dataset": self.dataset, "backbone": made or self.backbone, "seed": self.seed}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class PipelineRun:
    """A run, whose weights are open where P or M makes them.

    Attributes:
        config: of the run.
        after: pretrain or train, the stage whose weights it takes; None: those at the top of the file, or its default.
    """

    config: RunConfig
    after: str | None


@dataclass(frozen=True)
class Pipeline:
    """Stages, none of them looked up yet.

    Attributes:
        pretrain: P; None: left out.
        train: M, whose weights are open where P makes them; None: left out.
        runs: F and evaluations; may be none.
    """

    pretrain: PretrainConfig | None
    train: TrainConfig | None
    runs: tuple[PipelineRun, ...]

    def learned_by(self, run: PipelineRun) -> bool:
        """Whether a run's method was meta-trained before it, so that it takes what the method learned beside the backbone."""
        return run.after == "train" and self.train is not None and self.train.method == run.config.method


def read_pipeline(path: Path, method: str, weights: str | None = None) -> Pipeline:
    """A pipeline from a TOML file.

    Args:
        path: the file.
        method: of stages that name none.
        weights: instead of those that the file names.

    Raises:
        UsageError: the file cannot be read, a key is unknown, a value of the wrong type, there is no stage, or one does not go
            with those before it.
    """
    where = f"--config {path}"
    content = read_table(path, where)
    known = [*ELSEWHERE, *(one.name for one in fields(Common))]
    for key in content:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'; {did_you_mean(key, known)}")
    tables = {name: content.pop(name) for name in ELSEWHERE if name in content}
    common = Common(**options_of(content, Common, where))
    common = common if weights is None else replace(common, weights=weights)
    pretrain, train = training_options(tables, common, where, method)
    made = None if (last := train or pretrain) is None else backbone_of(last)
    trained = [name for name, options in (("pretrain", pretrain), ("train", train)) if options is not None]
    runs: list[PipelineRun] = []
    for table in _run_tables(tables.get("run", []), where):
        after = _after(table.pop("after", None), trained, common, f"{where}: [[run]]")
        options = _run_options(table, common, made, method, f"{where}: [[run]]")
        options["weights"] = common.weights if after is None else None
        runs.extend(PipelineRun(config, after) for config in _grid(options, made, f"{where}: [[run]]"))
    if not trained and not runs:
        raise UsageError(f"{where}: no stage; it needs [pretrain], [train] or [[run]]")
    return Pipeline(
        None if pretrain is None else made_of(PretrainConfig, pretrain, f"{where}: [pretrain]"),
        None if train is None else made_of(TrainConfig, train, f"{where}: [train]"),
        tuple(runs),
    )


def training_options(
    tables: Mapping[str, Any], common: Common, where: str, method: str | None = None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The options of the stages that train, with what they have in common; None where there is no such table.

    Args:
        tables: by name, of which `pretrain` and `train` are read.
        common: what a stage takes where it says nothing.
        where: what messages begin with.
        method: of [train] where it names none.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or stages that do not go together.
    """
    if common.weights is not None and "pretrain" in tables:
        raise UsageError(f"{where}: weights and [pretrain] both; one of them says what the network starts from")
    pretrain = train = made = None
    if "pretrain" in tables:
        pretrain = _options(tables["pretrain"], PretrainConfig, "pretrain", common.options(None), f"{where}: [pretrain]")
        made = backbone_of(pretrain)
    if "train" in tables:
        defaults = {**({} if method is None else {"method": method}), **common.options(made)}
        train = _options(tables["train"], TrainConfig, "train", defaults, f"{where}: [train]")
        _check_same_backbone(backbone_of(train), made, f"{where}: [train]")
        train["weights"] = common.weights
    return pretrain, train


def backbone_of(options: Mapping[str, Any]) -> str:
    """The backbone of a stage that trains."""
    return options.get("backbone", TrainConfig.backbone)


def made_of(config: type[T], options: Mapping[str, Any], where: str) -> T:
    """A config with options, whose complaints begin with `where`.

    Raises:
        UsageError: a value that the config refuses.
    """
    try:
        return config(**options)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _options(table: Any, config: type, stage: str, defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a table says, after what it inherits."""
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} is a table of options")
    options = {**defaults, **options_of(table, config, where, GRID if stage == "run" else (), ELSEWHERE[stage])}
    check_complete(options, config, where)
    return options


def _run_tables(tables: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise UsageError(f"{where}: run is a list of tables, [[run]]")
    return [dict(table) for table in tables]


def _after(named: Any, trained: Sequence[str], common: Common, where: str) -> str | None:
    """The stage whose weights a run takes; None: none that trains."""
    if named is None:
        return trained[-1] if trained else None
    if named == "pretrain" and common.weights is not None:  # they stand in for what P makes
        return None
    if named not in trained:
        raise UsageError(f"{where}: after = {named!r}: one of the stages that train here ({', '.join(trained) or 'none'})")
    return named


def _run_options(table: Any, common: Common, made: str | None, method: str, where: str) -> dict[str, Any]:
    options = _options(table, RunConfig, "run", {"method": method, **common.options(made)}, where)
    if "dataset" not in options:  # the command has a default, which nobody means here
        raise UsageError(f"{where} lacks dataset")
    return options


def _grid(options: Mapping[str, Any], made: str | None, where: str) -> list[RunConfig]:
    try:
        configs = grid(options)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    for config in configs:
        _check_same_backbone(config.backbone, made, where)
    return configs


def _check_same_backbone(backbone: str | None, made: str | None, where: str) -> None:
    if made is not None and backbone != made:
        raise UsageError(f"{where}: backbone {backbone} cannot take the weights of the stage before it, which are of {made}")
