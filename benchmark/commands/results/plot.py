"""`bench plot`: figures of records and of episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ....core.errors import UserError, listed
from ...config import RESULTS
from ..parts.folders import Results, in_results
from ..parts.lines import say

if TYPE_CHECKING:
    from ...records.record import RunRecord

    Loaded = tuple[Path, RunRecord]

app = typer.Typer(help="Draw figures of records and episodes.", no_args_is_help=True)
OF_RECORD = "the record's, or else"
Output = Annotated[Path | None, typer.Option(help="File to write: .svg or .png; default: figures/NAME.svg of --results.")]


def records_argument(text: str) -> Any:
    """The argument of a command that takes several records, with its help."""
    return typer.Argument(metavar="RECORD...", help=text)


@app.callback()
def plot() -> None:
    """Draw figures of records and episodes."""


@app.command()
def coarsity(
    records: Annotated[list[Path], records_argument("Records of semantic tasks.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw accuracy against coarsity: the mean of each run, with its interval, in the four quartiles of coarsity.

    Example: bench plot coarsity results/records/mini-imagenet/test-5way-1shot-15query-semantic/*.json
    """
    from ...reporting.figures.coarsity import draw_coarsity

    _write(output, "coarsity", draw_coarsity, records, results, _with_coarsity)


def _with_coarsity(loaded: list[Loaded]) -> list[RunRecord]:
    for path, record in loaded:
        if record.coarsities is None:
            raise UserError(f"{path} has no coarsity; take records of --sampler semantic or --testbed, or repeat the run")
    return [record for _, record in loaded]


@app.command()
def scaling(
    records: Annotated[list[Path], records_argument("Records of one task.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw accuracy against the parameters of the backbone, and against the time that it takes to encode an image.

    Example: bench plot scaling results/records/mini-imagenet/test-5way-1shot-15query-uniform/protonet-*.json
    """
    from ...reporting.figures.scaling import draw_scaling

    _write(output, "scaling", draw_scaling, records, results, _with_parameters)


def _with_parameters(loaded: list[Loaded]) -> list[RunRecord]:
    """Those records that say how large their network is; warnings name the others, and those without a time.

    Raises:
        UserError: none says how large its network is, or the records are not of one task.
    """
    from ...reporting.figures.scaling import check_one_task, milliseconds_an_image, parameters_of_network

    check_one_task([record for _, record in loaded])
    known = [(path, record) for path, record in loaded if parameters_of_network(record) is not None]
    older = listed(path for path, record in loaded if parameters_of_network(record) is None)
    cure = "which records of earlier releases lack; repeat the run with --overwrite"
    if not known:
        raise UserError(f"no record has the number of the network's parameters, {cure}: {older}")
    if older:
        say(f"warning: left out for want of the number of the network's parameters, {cure}: {older}", err=True)
    if untimed := [path for path, record in known if milliseconds_an_image(record) is None]:
        say(f"warning: no time of encoding, so in the panel of parameters alone: {listed(untimed)}", err=True)
    return [record for _, record in known]


@app.command()
def prompts(
    records: Annotated[list[Path], records_argument("Records that differ in their prompts alone.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw the accuracy with each prompt set, and its paired difference to the single prompt.

    Example: bench plot prompts results/records/trifeature/test-5way-1shot-15query-uniform/clip-zero-shot-*.json
    """
    from ...reporting.figures.prompts import draw_prompts

    _write(output, "prompts", draw_prompts, records, results)


@app.command()
def shots(
    records: Annotated[list[Path], records_argument("Records of one dataset at several shots.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw accuracy against shots: a line for each method and backbone, a level line for a method that uses no support.

    Example: bench plot shots results/records/trifeature/test-5way-*shot-15query-uniform/{protonet,clip-zero-shot}-*.json
    """
    from ...reporting.figures.shots import draw_shots

    _write(output, "shots", draw_shots, records, results)


@app.command()
def corruptions(
    records: Annotated[list[Path], records_argument("Records of one task on clean and corrupted images.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw accuracy against severity, 0 being the clean images: a panel for each corruption, a line for each method.

    Example: bench plot corruptions results/records/trifeature/test-5way-1shot-15query-uniform*/protonet-*.json
    """
    from ...reporting.figures.corruptions import draw_corruptions

    _write(output, "corruptions", draw_corruptions, records, results)


@app.command()
def conditions(
    records: Annotated[list[Path], records_argument("Records that differ in one condition of their task.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw accuracy against --query-balance, --label-noise or --budget: a panel for each dataset and number of shots.

    A line is a method, or with --budget the rule that gives labels.

    Example: bench plot conditions results/studies/transduction/records/*/*/*.json
    """
    from ...reporting.figures.conditions import draw_conditions

    _write(output, "conditions", draw_conditions, records, results)


@app.command()
def stages(
    records: Annotated[list[Path], records_argument("Records that differ in what was trained.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw the accuracy after P, P>M, P>F and P>M>F: a panel for what was trained on and tested on, and the shots.

    Example: bench plot stages results/records/*/*/pmf-*.json
    """
    from ...reporting.figures.stages import draw_stages

    _write(output, "stages", draw_stages, records, results)


@app.command()
def decodability(
    probes: Annotated[list[Path], typer.Argument(metavar="PROBE...", help="Files of bench probe.")],
    output: Output = None,
    results: Results = RESULTS,
) -> None:
    """Draw how well attributes were read off each layer, before and after training: a panel for each file.

    Example: bench plot decodability results/studies/decodability/*.json
    """
    from ...reporting.figures.decodability import draw_files

    _write_file(output, "decodability", lambda form: draw_files(probes, form), results)


@app.command()
def published_spread(output: Output = None, results: Results = RESULTS) -> None:
    """Draw how far quotes and reruns of published numbers lie from the papers' own: a row for each method.

    Example: bench plot published-spread
    """
    from ...published.table import published_numbers
    from ...reporting.figures.published_spread import draw_spread

    _write_file(output, "published-spread", lambda form: draw_spread(published_numbers(results), form), results)


@app.command()
def published_ours(output: Output = None, results: Results = RESULTS) -> None:
    """Draw our accuracies against published ones of the same method, backbone and task: a panel for each dataset.

    Example: bench plot published-ours
    """
    from ...reporting.figures.published_ours import draw_ours
    from ...reporting.published_page import compared_runs

    _write_file(output, "published-ours", lambda form: draw_ours(compared_runs(results), form), results)


@app.command()
def episode(
    index: Annotated[int, typer.Option(help="Number of the episode in its task, from 0.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write: .png; default: figures/episode-INDEX.png of --results.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Record of the task; adds what its method answers.")] = None,
    dataset: Annotated[str | None, typer.Option(help=f"Dataset: {OF_RECORD} trifeature.")] = None,
    split: Annotated[str | None, typer.Option(help=f"Class split: {OF_RECORD} test.")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"Sampler: {OF_RECORD} uniform.")] = None,
    testbed: Annotated[Path | None, typer.Option(help="File with a fixed list of tasks, instead of a sampler.")] = None,
    corruption: Annotated[str | None, typer.Option(help=f"Corruption of the images: {OF_RECORD} nothing.")] = None,
    severity: Annotated[int | None, typer.Option(help="Severity of the corruption, 1 to 5.")] = None,
    ways: Annotated[int | None, typer.Option(help=f"Classes an episode: {OF_RECORD} 5.")] = None,
    shots: Annotated[int | None, typer.Option(help=f"Support images a class: {OF_RECORD} 1.")] = None,
    queries: Annotated[int | None, typer.Option(help=f"Query images a class: {OF_RECORD} 15.")] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Length of a semantic task (its episodes depend on it): the record's, or else 10000.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"Seed of the episodes: {OF_RECORD} 0.")] = None,
    method: Annotated[str | None, typer.Option(help="Where the record's method is, if it is one of a file.")] = None,
    weights: Annotated[str | None, typer.Option(help="Where the record's weights are, if not with the package.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Where the record's prompts are, if they are of a file.")] = None,
    class_names: Annotated[Path | None, typer.Option(help="Where the record's class names are, if they are of a file.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="dataset.NAME=VALUE or sampler.NAME=VALUE.")] = None,
    results: Results = RESULTS,
) -> None:
    """Draw the support and query images of an episode with their classes, and what a record's method answered.

    Frames are green where the answer is right, red where it is wrong (the predicted class stands below), orange at a tie.

    Example: bench plot episode --dataset omniglot --ways 5 --index 0 --output episode.png
    """
    from ....core.files import write_atomically
    from ....core.options import parse_assignments
    from ...evaluation.replay import config_of, replay
    from ...records.store import load_record
    from ...reporting.figures.canvas import form_of
    from ...reporting.figures.episode import draw_episode, title_of
    from ..parts.terminal import TerminalProgress

    output = output or results / "figures" / f"episode-{index}.png"
    form_of(output, ("png",))
    named: dict[str, object] = {
        "dataset": dataset, "split": split, "sampler": sampler, "testbed": testbed, "corruption": corruption,
        "severity": severity, "ways": ways, "shots": shots, "queries": queries, "episodes": episodes, "seed": seed,
        "method": method, "weights": weights, "prompts": prompts, "class_names": class_names,
    }  # fmt: skip
    options = {name: value for name, value in named.items() if value is not None}
    loaded = None if record is None else load_record(in_results(record, results, "records"))
    config = config_of(options, parse_assignments(set_ or []), loaded)
    replayed = replay(config, index, loaded, TerminalProgress())
    png = draw_episode(replayed.task.split, replayed.episode, title_of(replayed, loaded), replayed.answers)
    write_atomically(output, png)
    say(output)


def _write(
    output: Path | None,
    name: str,
    draw: Callable[[list[RunRecord], str], bytes],
    paths: list[Path],
    results: Path,
    chosen: Callable[[list[Loaded]], list[RunRecord]] = lambda loaded: [record for _, record in loaded],
) -> None:
    """Draw records into a file, and print its path.

    Args:
        output: the file; None: one with this name in the results folder.
        name: the name of the figure.
        draw: makes the file's bytes from records and the form of the file.
        paths: the records as the user names them.
        results: the results folder.
        chosen: checks the records, and picks those to draw.
    """
    from ...records.store import load_record

    def drawn(form: str) -> bytes:
        return draw(chosen([(path, load_record(in_results(path, results, "records"))) for path in paths]), form)

    _write_file(output, name, drawn, results)


def _write_file(output: Path | None, name: str, draw: Callable[[str], bytes], results: Path) -> None:
    """Write what `draw` makes for the form of the file, and print its path; by default the file has a name in the results."""
    from ....core.files import write_atomically
    from ...reporting.figures.canvas import form_of

    output = output or results / "figures" / f"{name}.svg"
    write_atomically(output, draw(form_of(output)))
    say(output)
