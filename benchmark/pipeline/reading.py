"""Reading a pipeline file (stages.py shows one): every table becomes the configuration of its command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import UsageError, did_you_mean
from ...core.option_tables import check_complete, options_of, read_table
from ...core.options import Settings
from ..config import RunConfig, grid
from ..training.meta.train_config import TrainConfig
from ..training.pretrain_config import PretrainConfig
from .stages import Pipeline, PipelineRun, Published, Target

T = TypeVar("T")
WEIGHTS_ABOVE = "weights stands at the top of the file"
TO_THE_COMMAND = {name: f"it is an option of the command, --{name}" for name in ("device", "overwrite")}
ELSEWHERE = {  # by table: the options that it has no place for
    "pretrain": TO_THE_COMMAND,
    "train": {**TO_THE_COMMAND, "weights": WEIGHTS_ABOVE},
    "run": {
        **TO_THE_COMMAND,
        "results": "it is an option of the command, --results",
        "weights": WEIGHTS_ABOVE,
        "checkpoint": "a run takes that of [train]",
    },
    "published": {},
}
TARGET = tuple(one.name for one in fields(Target))


@dataclass(frozen=True)
class Common:
    """The keys at the top of a pipeline file.

    Attributes:
        dataset: of stages that name none.
        backbone: of stages that name none.
        seed: of stages that name none.
        weights: the first stage starts from them, instead of [pretrain].
        after: a reproduction, from whose weights the first stage starts instead.
    """

    dataset: str | None = None
    backbone: str | None = None
    seed: int | None = None
    weights: str | None = None
    after: str | None = None


def read_pipeline(path: Path, method: str | None = None, weights: str | None = None) -> Pipeline:
    """Read a pipeline from a TOML file.

    Args:
        path: the file.
        method: of stages that name none; None: runs then have the method of [train].
        weights: the first stage starts from them, instead of those that the file names.

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
    content = content if weights is None else {**content, "weights": weights}
    return _Reader(where, tables, Common(**options_of(content, Common, where)), method).pipeline(path.stem)


@dataclass
class _Reader:
    """One file. Its methods raise a UsageError where a table is not right."""

    where: str
    tables: Mapping[str, object]
    common: Common
    method: str | None  # of stages that name none
    made: str | None = None  # the backbone of the last stage that trains, of those read so far
    trained: tuple[str, ...] = ()  # these stages

    def pipeline(self, name: str) -> Pipeline:
        common = self.common
        starts = {"weights": common.weights, "after": common.after, "[pretrain]": self.tables.get("pretrain")}
        given = [one for one, value in starts.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{self.where}: {given[0]} and {given[1]} both; one of them says what the network starts from")
        if common.after is not None and "train" not in self.tables:
            raise UsageError(f"{self.where}: after goes with [train], which starts from those weights")
        pretrain = self.training("pretrain", PretrainConfig)
        train = self.training("train", TrainConfig, {"weights": common.weights})
        self.method = self.method or (None if train is None else train.method)
        runs = tuple(run for table in self.run_tables() for run in self.runs(table, f"{self.where}: [[run]]"))
        if not self.trained and not runs:
            raise UsageError(f"{self.where}: no stage; it needs [pretrain], [train] or [[run]]")
        published = Published(**self.options("published", Published)) if "published" in self.tables else None
        pipeline = Pipeline(name, pretrain, train, runs, common.weights, common.after, published)
        if published is None and any(run.target != Target() for run in runs):
            raise UsageError(f"{self.where}: [[run]]: published goes with a table [published], which names the source")
        if published is not None and not (runs and all(map(pipeline.learned_by, runs))):
            raise UsageError(f"{self.where}: [published] needs [train], and [[run]] of the method that it trains alone")
        return pipeline

    def training(self, stage: str, config: type[T], more: Mapping[str, Any] | None = None) -> T | None:
        """The configuration of a stage that trains; None: left out."""
        if stage not in self.tables:
            return None
        where = f"{self.where}: [{stage}]"
        options = {"backbone": TrainConfig.backbone, **self.options(stage, config)}
        backbone = options["backbone"]
        self.check_backbone(backbone, where)
        self.made, self.trained = backbone, (*self.trained, stage)
        try:
            return config(**options, **(more or {}))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error

    def options(self, stage: str, config: type, table: object = None, where: str | None = None) -> Settings:
        """The options of a table, with those that it inherits."""
        where, table = where or f"{self.where}: [{stage}]", self.tables[stage] if table is None else table
        if not isinstance(table, Mapping):
            raise UsageError(f"{where} is a table of options")
        names = {one.name for one in fields(config)}
        usual = {"method": self.method, **vars(self.common), "backbone": self.made or self.common.backbone}
        usual = {name: value for name, value in usual.items() if name in names - {"weights"} and value is not None}
        options = {**usual, **options_of(table, config, where, ELSEWHERE[stage])}
        check_complete(options, config, where)
        return options

    def run_tables(self) -> list[dict[str, object]]:
        runs = self.tables.get("run", [])
        if not isinstance(runs, list) or not all(isinstance(table, Mapping) for table in runs):
            raise UsageError(f"{self.where}: run is a list of tables, [[run]]")
        return [dict(table) for table in runs]

    def runs(self, table: dict[str, object], where: str) -> list[PipelineRun]:
        """The runs of a table, several where it has lists."""
        after = self.after(table.pop("after", None), where)
        target = Target(**options_of({name: table.pop(name) for name in TARGET if name in table}, Target, where))
        options = self.options("run", RunConfig, table, where)
        for name in ("method", "dataset"):  # the command has defaults, which nobody means here
            if name not in options:
                raise UsageError(f"{where} lacks {name}")
        try:
            configs = grid({**options, "weights": self.common.weights if after is None else None})
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        for config in configs:
            self.check_backbone(config.backbone, where)
        if target != Target() and len(configs) > 1:
            raise UsageError(f"{where}: published is of one run; its lists make {len(configs)}")
        return [PipelineRun(config, after, target) for config in configs]

    def after(self, named: object, where: str) -> str | None:
        """The stage whose weights a run takes; None: none that trains."""
        if named is None:
            return self.trained[-1] if self.trained else None
        if named == "pretrain" and self.common.weights is not None:  # which stand in for those of P
            return None
        for stage in self.trained:
            if named == stage:
                return stage
        among = ", ".join(self.trained) or "none"
        raise UsageError(f"{where}: after = {named!r}: one of the stages that train here ({among})")

    def check_backbone(self, backbone: str | None, where: str) -> None:
        if self.made is not None and backbone != self.made:
            raise UsageError(
                f"{where}: backbone {backbone} cannot take the weights of the stage before it, which are of {self.made}"
            )
