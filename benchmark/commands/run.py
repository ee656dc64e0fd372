"""`bench run`: evaluate methods on tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import Interrupted, UsageError, UserError
from ...core.options import parameters_of
from ..config import RunConfig, grid, read_toml
from .declared import takes

if TYPE_CHECKING:
    from ..evaluation.plan import Plan
    from ..evaluation.runner import Outcome
    from .terminal import TerminalProgress

SHORT = {"alpha": "sampler.alpha", "beta": "sampler.beta", "norm": "backbone.norm"}  # options that stand for a parameter


@takes(RunConfig)
def run(
    given: dict[str, Any],
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

    An option of type list takes several values, as 1,5 or repeated; every combination of such values is a run of its own.

    Example: bench run --method protonet,ridge --shots 1,5
    """
    from ..evaluation.preconditions import check_grid
    from .terminal import TerminalProgress

    short = {SHORT[name]: value for name, value in (("alpha", alpha), ("beta", beta), ("norm", norm)) if value is not None}
    configs = _configs({**given, "settings": {**given.get("settings", {}), **short}}, config)
    progress = TerminalProgress(verbose=verbose)
    failed, outcomes = None, []
    try:
        plans = check_grid(configs, progress.say) if dry_run or len(configs) > 1 else []
        if dry_run:
            _describe(plans, progress)
            return
        outcomes, failed = _carry_out(configs, progress)
    except UserError as error:
        failed = error
    if outcomes:
        (_print_json if json else print_outcomes)(outcomes)
    if failed:
        _trace(failed, progress)
        raise failed


def _carry_out(configs: list[RunConfig], progress: TerminalProgress) -> tuple[list[Outcome], UserError | None]:
    """Do every run; one that fails, fails alone, and an interruption ends all.

    Returns:
        How the others ended, and the error that the command ends with.
    """
    from ..evaluation.runner import run as run_one
    from ..plugin_errors import in_one_line

    outcomes, failures = [], []
    for one in configs:
        try:
            with in_one_line():
                outcome = run_one(one, progress)
        except Interrupted as error:
            return outcomes, error
        except KeyboardInterrupt:
            return outcomes, Interrupted("interrupted")
        except UserError as error:
            failures.append(error)
            if len(configs) > 1:
                _trace(error, progress)
                progress.say(f"failed: {one.method} on {one.dataset}, {one.ways}-way {one.shots}-shot: {error}")
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
        progress.say("".join(traceback.format_list(frames)).rstrip())


def _configs(given: dict[str, Any], config: Path | None) -> list[RunConfig]:
    """The grid that command line and TOML file ask for; what was typed comes before the file, the file before defaults."""
    options = {} if config is None else read_toml(config)
    settings = {**options.get("settings", {}), **given["settings"]}
    options = {**options, **given, "settings": settings}
    options = {one.name: options[one.name] for one in parameters_of(RunConfig) if one.name in options}
    if options.get("checkpoint") is not None and "method" not in options:
        from ..backbones.weights.find import described_checkpoint

        several = options["checkpoint"] if isinstance(options["checkpoint"], list) else [options["checkpoint"]]
        options["method"] = [described_checkpoint(Path(one))[1].name for one in several]
        if len(set(options["method"])) > 1:
            raise UsageError("--checkpoint: those of several methods need --method, or a command each")
    return grid(options)


def _describe(plans: list[Plan], progress: TerminalProgress) -> None:
    """Say what would run."""
    from ..evaluation.resume import finished_record
    from .terminal import print_table

    rows = []
    for plan in plans:
        config = plan.config
        shape = " ".join(f"{name}={value}" for name, value in plan.sampling.shape.items() if value is not None)
        corruption = "" if config.corrupted_by is None else f", corruption {config.corrupted_by}"
        task = f"{plan.dataset_name} {config.split}, {config.sampler} {shape}, seed {config.seed}{corruption}"
        state = "to run" if finished_record(plan, progress) is None else "finished"
        rows.append([plan.method_section["name"], plan.backbone.weights, task, str(config.episodes), state, str(plan.path())])
    print_table(("method", "weights", "task", "episodes", "state", "record"), rows, right=(3,))


def _print_json(outcomes: list[Outcome]) -> None:
    import json

    for outcome in outcomes:
        typer.echo(json.dumps(json.loads(outcome.record.to_json()), sort_keys=True))


def print_outcomes(outcomes: list[Outcome]) -> None:
    """A table of runs, then the paths of their records."""
    from ..records.identity import task_of
    from ..reporting.tables import backbone_label
    from .terminal import percent, print_table

    rows = []
    for outcome in outcomes:
        record, task = outcome.record, task_of(outcome.record)
        shape = ["varying" if number is None else str(number) for number in (task.ways, task.shots)]
        episodes = f"{record.n_episodes}{'' if record.complete else ' (partial)'}"
        accuracy = f"{percent(record.mean)} ± {percent(record.half_width)}"
        seconds = f"{record.timing.total_seconds:.1f}"
        images = ", ".join(filter(None, [task.dataset, task.corruption]))
        rows.append([record.method.name, backbone_label(record), images, *shape, episodes, accuracy, seconds])
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
        typer.echo(outcome.path)
