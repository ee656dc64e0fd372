"""Carrying a pipeline out: every stage takes what the one before it made, and what is there already is not made again.

The weights of a stage have an address that is made of all that they depend on (addresses.py), those of a reproduction its name,
so that its page can be made where the data is not (published.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ...core.errors import Interrupted, UsageError, UserError
from ...core.progress import Progress
from ..config import RunConfig
from ..evaluation.plan import make_plan
from ..evaluation.resume import finished_record
from ..evaluation.runner import Outcome
from ..sweep.engine import Engine
from ..training import pretraining
from ..training.loop.distributed import part_here
from ..training.loop.outputs import folder_of
from ..training.meta import meta_training
from ..training.options import Effort
from ..training.plan import TrainingPlan, carry_out
from ..training.pretrain_config import PretrainConfig
from .addresses import file_of, is_there
from .checks import check, check_scopes
from .evaluating import Clock, evaluate
from .reproduction import description, load, weights_file
from .stages import Config, Pipeline, PipelineRun, what

State = Literal["done already", "goes on", "trains", "trained", "runs"]


@dataclass(frozen=True)
class Stage:
    """A stage of which is known whether there is something to do.

    Attributes:
        name: pretrain, train or run.
        what: what is learnt or evaluated, in a few words.
        state: what there is to do, or was done.
        path: of the weights or the record; None where it depends on weights that are not there yet.
    """

    name: str
    what: str
    state: State
    path: Path | None


@dataclass(frozen=True)
class Finished:
    """A pipeline's end.

    Attributes:
        trained: the stages that train.
        outcomes: of the runs.
    """

    trained: tuple[Stage, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Call:
    """The options of a call of a pipeline, beside its file.

    Attributes:
        results: folder of `checkpoints` and `records`.
        progress: told of every stage, and of long work.
        device: auto, cpu or cuda.
        time_limit: seconds after which it stops.
        overwrite: train and evaluate anew.
        force: begin anew where a training was interrupted.
        engine: of the evaluations.
    """

    results: Path
    progress: Progress
    device: str = "auto"
    time_limit: float | None = None
    overwrite: bool = False
    force: bool = False
    engine: Engine = Engine()


def carry_out_pipeline(pipeline: Pipeline, call: Call) -> Finished:
    """Do what is missing of a pipeline; after an interruption, a kill or the end of its time the same call goes on.

    Raises:
        UserError: the time ran out, or anything that the commands of the stages raise.
    """
    return carry_out_pipelines([pipeline], call)[0]


def carry_out_pipelines(pipelines: Sequence[Pipeline], call: Call) -> list[Finished]:
    """Do what is missing of pipelines, one after the other. On Ray all train first; then all their evaluations are one sweep.

    Raises:
        UserError: as `carry_out_pipeline` does.
    """
    Effort(call.time_limit)
    clock = Clock(call.time_limit)
    if call.engine.engine == "local":
        return [finished for one in pipelines for finished in _finished([one], call, clock)]
    from ..sweep.connection import reachable

    reachable(call.engine.address)  # before hours of training
    return _finished(pipelines, call, clock)


def _finished(pipelines: Sequence[Pipeline], call: Call, clock: Clock) -> list[Finished]:
    """Train pipelines, then evaluate them; those before one that does not train are evaluated, too."""
    trained, failed = [], None
    for pipeline in pipelines:
        try:
            check(pipeline)
            trained.append(tuple(_train(pipeline, call, clock)))
        except UserError as error:
            if isinstance(error, Interrupted) or clock.left() == 0:
                raise
            failed = error
            break
    runs: list[tuple[str, RunConfig]] = []
    for pipeline, stages in zip(pipelines, trained, strict=False):
        weights = {stage.name: stage.path for stage in stages if stage.path is not None}
        owner = f"{pipeline.name}: " if len(pipelines) > 1 else ""
        runs += [(owner + what(run.config), run_config(run, pipeline, weights, call)) for run in pipeline.runs]
    outcomes = iter(evaluate(runs, call.engine, call.progress, clock))
    if failed is not None:
        raise failed
    return [
        Finished(stages, tuple(next(outcomes) for _ in pipeline.runs))
        for pipeline, stages in zip(pipelines, trained, strict=True)
    ]


def describe(pipeline: Pipeline, call: Call) -> list[Stage]:
    """List what `carry_out_pipeline` would do.

    Raises:
        UserError: as there, as far as it is known before.
    """
    check(pipeline)
    stages = [stage for stage, _ in _trainings(pipeline, call, dry=True)]
    weights = {stage.name: stage.path for stage in stages if stage.state == "done already" and stage.path is not None}
    for one in pipeline.runs:
        if one.after is None or one.after in weights:
            stages.append(_run_stage(run_config(one, pipeline, weights, call), call.progress))
        else:
            stages.append(Stage("run", what(one.config), "runs", None))
    return stages


def run_config(run: PipelineRun, pipeline: Pipeline, weights: Mapping[str, Path], call: Call) -> RunConfig:
    """A run with the weights that were made for it, of those that are there by stage.

    A run of the method that was meta-trained takes what that method learned, too; a run of another takes the backbone alone.
    """
    config = replace(run.config, device=call.device, results=call.results, overwrite=call.overwrite)
    if run.after is None:
        return config
    made = str(weights[run.after])
    return replace(config, checkpoint=made) if pipeline.learned_by(run) else replace(config, weights=made)


def _train(pipeline: Pipeline, call: Call, clock: Clock) -> list[Stage]:
    """Train what is missing, and say what was done."""
    trained: list[Stage] = []
    for stage, plan in _trainings(pipeline, call):
        call.progress.say(f"{stage.name}: {stage.state}, {stage.path}")
        if stage.state != "done already":
            assert stage.path is not None and plan is not None
            # A training makes a step, however little time there is.
            effort = Effort(clock.left(at_least=1e-3), overwrite=True, force=call.force)
            carry_out(_given(plan), stage.path, call.progress, effort)
            stage = replace(stage, state="trained")
        trained.append(stage)
    return trained


def _trainings(pipeline: Pipeline, call: Call, dry: bool = False) -> Iterator[tuple[Stage, TrainingPlan | None]]:
    """The stages that train, each with its plan where there is something to do.

    The caller carries a plan out before it asks for the next stage, which may start from those weights. In a `dry` call nobody
    does; a stage that starts from weights that are not there yet has no plan.
    """
    both: dict[str, Config | None] = {"pretrain": pipeline.pretrain, "train": pipeline.train}
    stages = {name: config for name, config in both.items() if config is not None}
    start, waits, locate = None, False, _by_content if pipeline.published is None else _by_name
    if pipeline.published is not None and _is_made(pipeline, "train", call):
        stages.pop("pretrain", None)  # what the weights started from is not made again for its own sake
    elif pipeline.after is not None:
        for stage, plan in _trainings(load(pipeline.after), replace(call, overwrite=False), dry):
            yield stage, plan
            start, waits = stage.path, dry and stage.state != "done already"
    for name, config in stages.items():
        started = config if start is None or isinstance(config, PretrainConfig) else replace(config, weights=str(start))
        stage, plan = locate(pipeline, name, replace(started, device=call.device), call, waits)
        yield stage, plan
        start, waits = stage.path, dry and stage.state != "done already"


def _by_content(pipeline: Pipeline, name: str, config: Config, call: Call, waits: bool) -> tuple[Stage, TrainingPlan | None]:
    """A stage whose file has an address that is made of its plan."""
    if waits:
        return Stage(name, what(config), "trains", None), None
    plan = _plan(pipeline, config, call)
    path = file_of(plan, config.precision, call.results)
    return _stage(name, config, path, call, done=not call.overwrite and is_there(path)), plan


def _by_name(pipeline: Pipeline, name: str, config: Config, call: Call, waits: bool) -> tuple[Stage, TrainingPlan | None]:
    """A stage of a reproduction, whose file has its name.

    Raises:
        UsageError: the weights there are of another training.
    """
    path, done = weights_file(pipeline, name, call.results), _is_made(pipeline, name, call)
    if path.is_file() and not done and not call.overwrite:
        raise UsageError(f"{path} is of another training than {pipeline.name} now is; --overwrite trains it anew")
    return _stage(name, config, path, call, done), None if done or waits else _plan(pipeline, config, call)


def _is_made(pipeline: Pipeline, name: str, call: Call) -> bool:
    """Whether a stage of a reproduction is done, on whatever device it was."""
    there = not call.overwrite and weights_file(pipeline, name, call.results).is_file()
    return there and description(pipeline, name, call.results) is not None


def _stage(name: str, config: Config, path: Path, call: Call, done: bool) -> Stage:
    begun = folder_of(path).is_dir() and not call.force
    return Stage(name, what(config), "done already" if done else "goes on" if begun else "trains", path)


def _plan(pipeline: Pipeline, config: Config, call: Call) -> TrainingPlan:
    if part_here().world > 1:
        raise UsageError("a pipeline runs in one process; bench pretrain and bench train are for torchrun")
    module = pretraining if isinstance(config, PretrainConfig) else meta_training
    plan: TrainingPlan = module.plan_of(config, call.progress)  # type: ignore[arg-type]
    check_scopes(pipeline, plan)
    return plan


def _given(plan: TrainingPlan) -> Callable[[Progress], TrainingPlan]:
    return lambda progress: plan


def _run_stage(config: RunConfig, progress: Progress) -> Stage:
    plan = make_plan(config)
    state: State = "runs" if finished_record(plan, progress) is None else "done already"
    return Stage("run", what(config), state, plan.path())
