"""`bench testbed`: fixed lists of tasks, drawn by meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..parts.lines import say

app = typer.Typer(help="Make and describe testbeds: files that list every task's images.", no_args_is_help=True)
DATASET = typer.Option(help="Dataset (bench list datasets).")
SET = typer.Option("--set", help="Parameter of the dataset, name=value.")


@app.callback()
def testbed() -> None:
    """Make and describe testbeds."""


@app.command()
def make(
    output: Annotated[Path, typer.Argument(help="File to write: .parquet, or .csv in the published layout.")],
    dataset: Annotated[str, DATASET] = "trifeature",
    split: Annotated[str, typer.Option(help="Class split: train, val or test.")] = "test",
    ways: Annotated[int, typer.Option(help="Classes a task.")] = 5,
    shots: Annotated[int, typer.Option(help="Support images a class.")] = 1,
    queries: Annotated[int, typer.Option(help="Query images a class.")] = 10,
    tasks: Annotated[int, typer.Option(help="Number of tasks.")] = 5000,
    alpha: Annotated[float, typer.Option(help="How much nearness of classes counts; 0 is uniform.")] = 0.3830,
    beta: Annotated[float, typer.Option(help="How much a class that was drawn often is avoided.")] = 100.0,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    distances: Annotated[str | None, typer.Option(help="CSV matrix, or open_clip:ARCH/TAG, instead of the taxonomy.")] = None,
    classes_only: Annotated[bool, typer.Option("--classes-only", help="Draw classes without images.")] = False,
    set_: Annotated[list[str] | None, SET] = None,
) -> None:
    """Draw a testbed by semantic task sampling (Bennequin et al. 2022) and write it to a file.

    Example: bench testbed make tiered.csv --dataset tiered-imagenet --classes-only
    """
    from ....tasks.testbed import make_testbed
    from ....tasks.testbed_files import write_testbed
    from ...evaluation.split_classes import class_distances, classes_of
    from ..parts.terminal import TerminalProgress

    chosen = classes_of(dataset, set_ or [], split, with_images=not classes_only, progress=TerminalProgress())
    matrix = class_distances(chosen.dataset, split, chosen.class_ids, chosen.counts, distances)
    drawn = make_testbed(
        chosen.offsets,
        matrix,
        ways=ways,
        shots=shots,
        queries=queries,
        tasks=tasks,
        alpha=alpha,
        beta=beta,
        seed=seed,
        dataset=dataset,
        split=split,
        fingerprint=chosen.fingerprint,
    )
    write_testbed(output, drawn)
    say(output)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="Testbed file.")],
    dataset: Annotated[str, DATASET] = "trifeature",
    split: Annotated[str, typer.Option(help="Class split: train, val or test.")] = "test",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    set_: Annotated[list[str] | None, SET] = None,
) -> None:
    """Describe a testbed: its tasks, how often each class occurs, and its coarsity (small is fine-grained).

    Example: bench testbed show tiered.csv --dataset tiered-imagenet
    """
    import json as json_module

    from ....tasks.testbed_files import read_testbed
    from ...evaluation.split_classes import classes_of
    from ...reporting.testbeds import describe_testbed
    from ..parts.terminal import print_table

    chosen = classes_of(dataset, set_ or [], split, with_images=False)
    described = describe_testbed(read_testbed(file), chosen.class_ids)
    if json:
        typer.echo(json_module.dumps(vars(described), indent=1, sort_keys=True))
        return
    coarsity, times = described.coarsity, described.occurrences.values()
    quartiles = ", ".join(f"{value:.2f}" for value in coarsity["quartiles"])
    shape = f"{described.ways}-way {described.shots}-shot, {described.queries} queries a class"
    rows = [
        ["tasks", f"{described.tasks}, {shape}"],
        ["coarsity", f"mean {coarsity['mean']:.2f}, quartiles {quartiles}"],
        ["occurrences of a class", f"{min(times)} to {max(times)}"],
        *([name, str(getattr(described, name))] for name in ("parameters", "seed", "fingerprint", "sha256")),
    ]
    print_table(("", ""), rows)
