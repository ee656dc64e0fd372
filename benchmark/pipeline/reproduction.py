"""Reproductions: pipeline files with a table [published], and what our runs found beside what the papers report.

Nothing is stored for the comparison: it is read off the description of the weights and the records of runs with those weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ...core.decoding import encode
from ...core.errors import UsageError, UserError, did_you_mean
from .. import registry
from ..backbones.weights.checkpoint import read_description
from ..backbones.weights.description import Description
from ..published.beside import Verdict, margin_of, verdict_of
from ..records.identity import asks_for, file_safe, parts_of, task_of
from ..records.record import RunRecord
from ..records.store import load_records
from ..training.meta.train_config import TrainConfig
from ..training.pretrain_config import PretrainConfig
from .reading import read_pipeline
from .stages import Pipeline, PipelineRun

FOLDER = Path(__file__).parent / "reproductions"
LEVEL = 0.95  # of the published intervals, and of ours
NOT_STATED = ("device", "weights", "settings")  # a description may have them otherwise; settings are compared one by one


def names() -> list[str]:
    """The names of all reproductions."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, weights: Path | None = None) -> Pipeline:
    """A reproduction by name.

    Args:
        name: of its file, without the suffix.
        weights: a file, in place of weights of a hub that the reproduction starts from.

    Raises:
        UsageError: there is none of that name, or it starts from no weights of a hub.
    """
    if name not in names():
        raise UsageError(f"unknown reproduction '{name}'; {did_you_mean(name, names())} (bench reproduce --list)")
    path = FOLDER / f"{name}.toml"
    pipeline = read_pipeline(path)
    if weights is None:
        return pipeline
    if pipeline.weights is None:
        raise UsageError(f"--weights {weights}: {name} starts from no weights of a hub")
    return read_pipeline(path, weights=str(weights))


def all_reproductions() -> list[Pipeline]:
    """All reproductions, in the order of their names."""
    return [load(name) for name in names()]


def weights_file(pipeline: Pipeline, stage: str, results: Path) -> Path:
    """The weights that a stage of a reproduction makes, in a results folder; they have its name."""
    return results / "checkpoints" / f"{pipeline.name}{'-pretrained' if stage == 'pretrain' else ''}.safetensors"


def description(pipeline: Pipeline, stage: str, results: Path) -> Description | None:
    """The description of the weights that a stage made; None where there is none, or it is of another training.

    Weights that it starts from count by their content, when this reproduction or the one before it makes them. Others count by
    being named at all: the same file may come from the hub or by hand.
    """
    config = pipeline.pretrain if stage == "pretrain" else pipeline.train
    try:
        about = read_description(weights_file(pipeline, stage, results))
    except UserError:
        return None
    if config is None or about is None or about.weights_sha256 is None or not _made(config, about):
        return None
    if stage == "pretrain":
        return about
    started = about.pretraining.started_from
    if pipeline.pretrain is None and pipeline.after is None:
        return about if (started is None) == (pipeline.weights is None) else None
    first, stage = (pipeline, "pretrain") if pipeline.after is None else (load(pipeline.after), "train")
    before = description(first, stage, results)
    return about if started and before and before.weights_sha256 == started.weights_sha256 else None


def _made(config: PretrainConfig | TrainConfig, about: Description) -> bool:
    """Whether a description is of a training with this configuration, as far as that leaves nothing open."""
    made = about.made_by.config or {}
    stated = {one.name: one.default for one in fields(config) if getattr(config, one.name) is not None}
    return all(
        made.get(name, default) == getattr(config, name) for name, default in stated.items() if name not in NOT_STATED
    ) and all((name, value) in made.get("settings", {}).items() for name, value in config.settings.items())


@dataclass(frozen=True)
class Comparison:
    """One run of a reproduction beside its published number; what was not run is None.

    Attributes:
        pipeline: the reproduction.
        run: of the pipeline.
        about: the description of the weights.
        record: of the run.
        path: of the record.
    """

    pipeline: Pipeline
    run: PipelineRun
    about: Description | None = None
    record: RunRecord | None = None
    path: Path | None = None

    @property
    def difference(self) -> float | None:
        """Our accuracy minus the published one, in percentage points."""
        if self.record is None or self.run.target.published is None:
            return None
        return 100 * self.record.mean - self.run.target.published

    @property
    def combined(self) -> float | None:
        """Half-width that the difference may have, in percentage points.

        The root of the sum of the squares of both intervals; ours alone where none was published.
        """
        if self.record is None or self.record.half_width is None:
            return None
        return margin_of(100 * self.record.half_width, self.run.target.interval)

    @property
    def verdict(self) -> Verdict | None:
        """`within` the combined interval, `above` or `below` it."""
        difference, combined = self.difference, self.combined
        if difference is None or combined is None:
            return None
        return verdict_of(difference, combined)

    @property
    def task(self) -> str:
        """The task, such as `5-way 1-shot`, and what is unusual about it."""
        config, train = self.run.config, self.pipeline.train
        shape = "varying ways and shots" if self.run.varies else f"{config.ways}-way {config.shots}-shot"
        usual = self.run.varies or config.queries == type(config).queries
        queries = [] if usual else ["1 query" if config.queries == 1 else f"{config.queries} queries"]
        chosen = {} if config.tune is None else {"tune": config.tune}
        of_method = [f"{name}={value}" for name, value in {**chosen, **config.settings}.items()]
        elsewhere = [] if train is None or config.dataset == train.dataset else [config.dataset]
        return ", ".join([*elsewhere, shape, *queries, *of_method])


def compare(pipeline: Pipeline, results: Path) -> list[Comparison]:
    """The runs of a reproduction, as far as they are done.

    Args:
        pipeline: whose weights and records are looked for.
        results: folder of `checkpoints` and `records`.
    """
    about = description(pipeline, "train", results)
    if about is None:
        return [Comparison(pipeline, run) for run in pipeline.runs]
    datasets = sorted({_dataset(run) for run in pipeline.runs})
    folders = [results / "records" / file_safe(name) for name in datasets]
    found = [one for folder in folders if folder.is_dir() for one in load_records(folder)[0]]
    return [_comparison(pipeline, run, about, found) for run in pipeline.runs]


def _dataset(run: PipelineRun) -> str:
    return registry.find("datasets", run.config.dataset).name


def _comparison(
    pipeline: Pipeline, run: PipelineRun, about: Description, found: Sequence[tuple[Path, RunRecord]]
) -> Comparison:
    for path, record in found:
        if _is_of(record, run, about):
            return Comparison(pipeline, run, about, record, path)
    return Comparison(pipeline, run, about)


def _is_of(record: RunRecord, run: PipelineRun, about: Description) -> bool:
    """Whether a record is of this run with these weights."""
    config, method = run.config, about.method
    if method is None or not asks_for(config, _dataset(run), run.varies, task_of(record)):
        return False
    answers = {
        "method.name": method.name,
        "method.parameters": {**method.parameters, **config.settings_of("method")},
        "backbone.weights_sha256": about.weights_sha256,
        "backbone.precision": config.precision,
        "backbone.compile": config.compile,
        **({} if config.tune is None else {"backbone.tune": config.tune}),
    }
    return (
        record.complete
        and record.n_episodes == config.episodes
        and record.level == LEVEL
        and encode(answers).items() <= parts_of(record).items()
    )
