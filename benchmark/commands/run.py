"""`bench run`: evaluate methods on tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import Interrupted, UsageError, UserError
from ...core.options import Settings, parameters_of
from ..config import FOLDER, RunConfig, grid, read_toml
from ..scopes import with_option
from ..sweep.engine import Engine
from .parts.declared import takes
from .parts.lines import say
from .parts.shape import check_shape

if TYPE_CHECKING:
    from ..evaluation.plan import Plan
    from ..evaluation.runner import Outcome
    from ..records.labels import Label
    from .parts.terminal import TerminalProgress

ALL_FROZEN = "all-frozen"
SHORT = {"alpha": "sampler.alpha", "beta": "sampler.beta", "norm": "backbone.norm"}  # options for parameters


@takes(RunConfig, Engine)
def run(
    given: Settings,
    engine: Settings,
    alpha: Annotated[float | None, typer.Option(help="Semantic sampler: how much nearness of classes counts.")] = None,
    beta: Annotated[float | None, typer.Option(help="Semantic sampler: how much often-drawn classes are avoided.")] = None,
    norm: Annotated[
        str | None, typer.Option(help="Normalisation of a built-in backbone: batch, group, layer or instance.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with these options; the command line comes first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would run.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say how fast images were encoded, and where a plug-in failed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record instead of the table, one line a record.")] = False,
) -> None:
    """Evaluate methods on N-way K-shot episodes and print accuracy with its confidence interval.

    An option of type list takes several values, as 1,5 or repeated; each combination of values is a run.

    Example: bench run --method protonet,ridge --shots 1,5
    """
    from ..evaluation.preconditions import check_grid
    from .parts.terminal import TerminalProgress

    on = Engine(**engine)
    settings = given.get("settings", {})
    for name, value in (("alpha", alpha), ("beta", beta), ("norm", norm)):
        settings = settings if value is None else with_option(settings, SHORT[name], value, f"--{name}")
    progress = TerminalProgress(verbose=verbose)
    configs = _configs({**given, "settings": settings}, config, progress.say)
    failed, outcomes = None, []
    try:
        plans = check_grid(configs, progress.say) if dry_run or len(configs) > 1 else []
        if dry_run:
            _describe(plans, progress)
            return
        if on.engine == "ray":
            from ..sweep.driver import sweep

            outcomes, failed = sweep(configs, _names(plans), on, progress)
        else:
            outcomes, failed = _carry_out(configs, _names(plans), progress)
    except UserError as error:
        failed = error
    if outcomes:
        (_print_json if json else print_outcomes)(outcomes)
    if failed:
        _trace(failed, progress)
        raise failed


def _names(plans: list[Plan]) -> list[str]:
    """What each run of a grid is called beside the others."""
    return [f"{', '.join((label.method, label.backbone))} on {task}" for label, task in _labelled(plans)]


def _labelled(plans: list[Plan]) -> list[tuple[Label, str]]:
    """The label and the task of each run of a grid, in words; no two runs have the same."""
    from ..evaluation.planned import planned
    from ..records.labels import labels_of
    from ..records.task_words import TASK_TITLE, task_label

    runs = [planned(plan) for plan in plans]
    labels = labels_of(runs, told=TASK_TITLE, beside=list(map(task_label, runs)))
    tasks = [", ".join(filter(None, (task_label(run), label.task))) for run, label in zip(runs, labels, strict=True)]
    return list(zip(labels, tasks, strict=True))


def _carry_out(
    configs: list[RunConfig], names: list[str], progress: TerminalProgress
) -> tuple[list[Outcome], UserError | None]:
    """Do every run. After a failed run the next begins; an interruption ends all.

    Args:
        configs: the runs.
        names: what they are called; empty for a single run, whose error says enough.
        progress: told of each run.

    Returns:
        The outcomes of the other runs, and the error that the command ends with.
    """
    from ..evaluation.runner import run as run_one
    from ..plugin_errors import in_one_line

    outcomes, failures = [], []
    for place, one in enumerate(configs):
        try:
            with in_one_line():
                outcome = run_one(one, progress)
        except Interrupted as error:
            return outcomes, error
        except KeyboardInterrupt:
            return outcomes, Interrupted("interrupted")
        except UserError as error:
            failures.append(error)
            if names:
                _trace(error, progress)
                progress.say(f"failed: {names[place]}: {error}")
            continue
        outcomes.append(outcome)
        if outcome.reused:
            progress.say(f"{outcome.path} is there already, nothing was run; --overwrite repeats it")
    if failures and len(configs) > 1:
        return outcomes, UserError(f"{len(failures)} of {len(configs)} runs failed")
    return outcomes, failures[0] if failures else None


def _trace(error: UserError, progress: TerminalProgress) -> None:
    """With -v, show the lines of a plug-in's code that an error came through."""
    import traceback

    from ..plugin_errors import frames_of

    if progress.verbose and (frames := frames_of(error.__cause__)):
        for line in "".join(traceback.format_list(frames)).splitlines():
            say(line, err=True)


def _configs(given: Settings, config: Path | None, say: Callable[[str], None]) -> list[RunConfig]:
    """The grid that command line and TOML file ask for; typed options override the file, the file overrides defaults."""
    options = {} if config is None else read_toml(config)
    settings = {**options.get("settings", {}), **given["settings"]}
    options = {**options, **given, "settings": settings}
    options = {one.name: options[one.name] for one in parameters_of(RunConfig) if one.name in options}
    if options.get("data") is not None and options.get("dataset", FOLDER) != FOLDER:
        raise UsageError(f"--data {options['data']} and --dataset {_listed(options['dataset'])}: take one of them")
    check_shape(options)
    if ALL_FROZEN in _several(options.get("method")):
        options["method"] = _with_frozen(_several(options["method"]))
    if options.get("checkpoint") is not None:
        options = _with_brought(options, say)
    return grid(options)


def _several(value: object) -> list[object]:
    """The values of an option that may hold one or a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _with_frozen(methods: list[object]) -> list[object]:
    """The methods, with those that all-frozen stands for in its place."""
    from .. import registry

    return [name for method in methods for name in (registry.all_frozen() if method == ALL_FROZEN else [method])]


def _with_brought(options: Settings, say: Callable[[str], None]) -> Settings:
    """Add the options that a checkpoint brings to those that were given; say where a given option differs from it.

    Raises:
        UsageError: several checkpoints bring different things.
    """
    from .. import registry
    from ..backbones.weights.find import brought_by, dataset_settings

    if options.get("data") is not None:
        options = {"dataset": FOLDER, **options}
    several = options["checkpoint"] if isinstance(options["checkpoint"], list) else [options["checkpoint"]]
    if several in ([None], []):
        return options
    path = Path(several[0])
    brought = brought_by(path)
    if "method" not in options:
        try:
            registry.find("methods", brought["method"])
        except UserError as error:
            raise type(error)(f"--checkpoint {path}: {error}") from error
    if "testbed" in options or options.get("sampler", RunConfig.sampler) != RunConfig.sampler:  # which says ways and shots
        brought = {name: value for name, value in brought.items() if name not in ("ways", "shots")}
    for other in several[1:]:
        for name, value in brought_by(Path(other)).items():
            if name not in options and brought.get(name, value) != value:
                raise UsageError(f"--checkpoint: {path} is of {name} {brought[name]}, {other} of {value}; name --{name}")
    settings = options["settings"] if "dataset" in options else {**dataset_settings(path), **options["settings"]}
    asked = {name: _listed(options[name]) for name in brought if name in options and name != "method"}
    differing = [name for name, value in asked.items() if value != str(brought[name])]
    if differing:
        is_of, now = (", ".join(f"{name} {source[name]}" for name in differing) for source in (brought, asked))
        say(f"checkpoint {path.name} is of {is_of}; this run is of {now}")
    if "dataset" not in brought and "dataset" not in options:
        say(f"checkpoint {path.name} does not say its dataset; this run is of {RunConfig.dataset}, --dataset takes another")
    return {**brought, **options, "settings": settings}


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _describe(plans: list[Plan], progress: TerminalProgress) -> None:
    """Print a table of the runs of a dry run."""
    from ..evaluation.resume import finished_record
    from .parts.terminal import print_table

    rows = []
    for plan, (label, task) in zip(plans, _labelled(plans), strict=True):
        state = "to run" if finished_record(plan, progress) is None else "finished"
        episodes = str(plan.config.episodes)
        rows.append([label.method, label.backbone, plan.backbone.weights, task, episodes, state, str(plan.path())])
    print_table(("method", "backbone", "weights", "task", "episodes", "state", "record"), rows, right=(4,))


def _print_json(outcomes: list[Outcome]) -> None:
    import json

    for outcome in outcomes:
        say(json.dumps(json.loads(outcome.record.to_json()), sort_keys=True))


def print_outcomes(outcomes: list[Outcome]) -> None:
    """Print a table of runs, then the paths of their records."""
    from ..records.identity import task_of
    from ..records.labels import labels_of
    from ..records.statistics import in_percent
    from .parts.terminal import print_table

    rows = []
    told = ("dataset", "corruption", "conditions", "ways", "shots")
    tasks = [task_of(outcome.record) for outcome in outcomes]
    cells = [tuple(getattr(task, name) for name in told) for task in tasks]
    labels = labels_of([outcome.record for outcome in outcomes], told, beside=cells)
    for outcome, label, task in zip(outcomes, labels, tasks, strict=True):
        record = outcome.record
        shape = ["varying" if number is None else str(number) for number in (task.ways, task.shots)]
        episodes = f"{record.n_episodes}{'' if record.complete else ' (partial)'}"
        accuracy = in_percent(record.mean, record.half_width, record.n_episodes)
        seconds = f"{record.timing.total_seconds:.1f}"
        images = ", ".join(filter(None, [task.dataset, task.corruption, task.conditions]))
        images = ", ".join(filter(None, [images, label.task]))
        rows.append([label.method, label.backbone, images, *shape, episodes, accuracy, seconds])
    level = outcomes[0].record.accuracy.level
    headers = (
        "method",
        "backbone",
        "dataset",
        "ways",
        "shots",
        "episodes",
        f"accuracy % ± {100 * level:g} % interval",
        "seconds",
    )
    print_table(headers, rows, right=(3, 4, 5, 6, 7))
    for outcome in outcomes:
        say(outcome.path)
    for note in dict.fromkeys(outcome.note for outcome in outcomes if outcome.note):
        say(note, err=True)
