"""`bench run`: evaluate methods on tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import Interrupted, UserError

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..evaluation.plan import Plan
    from ..evaluation.runner import Outcome
    from .terminal import TerminalProgress

SEVERAL = "several values make a grid, one record each"


def run(
    context: typer.Context,
    method: Annotated[list[str], typer.Option(help=f"Name, FILE.py:Class or sklearn:module.Class; {SEVERAL}.")] = ["protonet"],  # noqa: B006
    shots: Annotated[list[str], typer.Option(help=f"Support images a class, e.g. 1 or 1,5; {SEVERAL}.")] = ["1"],  # noqa: B006
    ways: Annotated[list[str], typer.Option(help=f"Classes an episode; {SEVERAL}.")] = ["5"],  # noqa: B006
    queries: Annotated[int, typer.Option(help="Query images a class.")] = 15,
    episodes: Annotated[int, typer.Option(help="Number of episodes.")] = 10_000,
    dataset: Annotated[str, typer.Option(help="Dataset (bench list datasets).")] = "trifeature",
    split: Annotated[str, typer.Option(help="Class split: train, val or test.")] = "test",
    sampler: Annotated[
        str, typer.Option(help="uniform, semantic, imbalanced or meta-dataset (varying ways and shots).")
    ] = "uniform",
    alpha: Annotated[float | None, typer.Option(help="Semantic sampler: how much nearness of classes counts.")] = None,
    beta: Annotated[float | None, typer.Option(help="Semantic sampler: how much often-drawn classes are avoided.")] = None,
    testbed: Annotated[Path | None, typer.Option(help="File with a fixed list of tasks (bench testbed make).")] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(help=f"Corrupt the images: noise, blur, jpeg, grey, occlusion or contrast; {SEVERAL}."),
    ] = None,
    severity: Annotated[list[str] | None, typer.Option(help=f"Of the corruption, 1 to 5; {SEVERAL}.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone (bench list backbones); default: conv4, or clip-tiny where text is used.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Shipped weights or a file; default: those pretrained on the dataset.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="File of bench train: backbone and what the method learned; --method may be left out.")
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="Normalisation of a built-in backbone: batch, group, layer or instance.")
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(help="What an adapting method may move: none, norm, head, last-block, lora, prompt, prompt-pool or full."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="What class names are put into: single, ensemble or a file; several make a grid.")
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="CSV file with class_id,name instead of the dataset's names.")
    ] = None,
    batch_size: Annotated[str, typer.Option(help="Images encoded at once; auto finds a number that fits.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of encoding: fp32, tf32, bf16 or fp16.")] = "fp32",
    compile: Annotated[bool, typer.Option("--compile", help="Encode through torch.compile.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the episodes.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Parameter of the method, name=value; dataset., backbone. or sampler. before the name says whose."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with these options; the command line comes first.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[Path, typer.Option(help="Results folder.")] = Path("results"),
    limit: Annotated[
        int | None, typer.Option(help="Stop after so many episodes; the record is partial and off the board.")
    ] = None,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Also give the percentile bootstrap interval.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Repeat a finished run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would run.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say how fast images were encoded, and where a plug-in failed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record instead of the table, one line a record.")] = False,
) -> None:
    """Evaluate methods on N-way K-shot episodes and print accuracy with its confidence interval.

    Example: bench run --method protonet,ridge --shots 1,5
    """
    from ..evaluation.preconditions import check_grid
    from .terminal import TerminalProgress

    configs, progress = _configs(context, config), TerminalProgress(verbose=verbose)
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


def _configs(context: typer.Context, config: Path | None) -> list[RunConfig]:
    """The grid that command line and TOML file ask for; what was typed comes before the file, the file before defaults."""
    from ...core.options import parse_assignments
    from ..config import grid, read_toml, typed

    options: dict[str, Any] = {
        name: value for name, value in context.params.items() if name not in ("config", "dry_run", "json", "set_", "verbose")
    }
    settings: dict[str, Any] = {}
    chosen = {name for name in options if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    if config is not None:
        from_file = read_toml(config)
        settings.update(from_file.pop("settings", {}))
        options.update({name: value for name, value in from_file.items() if name not in chosen})
        chosen |= from_file.keys()
    settings.update(parse_assignments(context.params["set_"] or []))
    for name, owner in (("alpha", "sampler"), ("beta", "sampler"), ("norm", "backbone")):
        if (value := options.pop(name)) is not None:
            settings[f"{owner}.{name}"] = value
    options["settings"] = settings
    if isinstance(options.get("batch_size"), str):
        size = options["batch_size"]
        options["batch_size"] = None if size == "auto" else typed("batch-size", [size])[0]
    options["tune"] = [name for text in _several(options["tune"]) if text for name in text.split(",")] or None
    options["prompts"] = [name for text in _several(options["prompts"]) if text for name in text.split(",")] or None
    options["output"] = Path(options["output"])
    if isinstance(options["checkpoint"], str) and "method" not in chosen:
        from ..backbones.weights.find import described_checkpoint

        options["method"] = described_checkpoint(Path(options["checkpoint"]))[1].name
    options["corruption"] = [name for text in _several(options["corruption"]) if text for name in text.split(",")] or None
    options["severity"] = typed("severity", [one for one in _several(options["severity"]) if one is not None]) or None
    for name in ("ways", "shots"):
        options[name] = typed(name, _several(options[name]))
    options["method"] = [name for text in _several(options["method"]) for name in text.split(",")]
    return grid(options)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


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
    from ..reporting.tables import backbone_label
    from .terminal import percent, print_table

    rows = []
    for outcome in outcomes:
        record, task = outcome.record, outcome.record.task
        shape = [str(task[name]) if task[name] is not None else "varying" for name in ("ways", "shots")]
        episodes = f"{record.n_episodes}{'' if record.complete else ' (partial)'}"
        accuracy = f"{percent(record.mean)} ± {percent(record.half_width)}"
        seconds = f"{record.timing['total_seconds']:.1f}"
        images = ", ".join([task["dataset"], *filter(None, [record.task_key().corruption])])
        rows.append([record.method_name, backbone_label(record), images, *shape, episodes, accuracy, seconds])
    level = outcomes[0].record.accuracy["level"]
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
