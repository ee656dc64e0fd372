"""`bench reproduce`: published numbers, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UsageError
from ....core.options import Settings
from ...config import RESULTS
from ...sweep.engine import Engine
from ...training.options import Effort
from ..parts.declared import takes
from ..parts.folders import Results
from ..parts.lines import say

if TYPE_CHECKING:
    from ...pipeline.running import Call
    from ...pipeline.stages import Pipeline


@takes(Effort, Engine)
def reproduce(
    effort: Settings,
    engine: Settings,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Reproductions to run (bench reproduce --list).")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every reproduction.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the reproductions and their states.")] = False,
    page: Annotated[Path | None, typer.Option(help="Fill the table of this page from finished runs; nothing is run.")] = None,
    check: Annotated[bool, typer.Option("--check", help="With --page: write nothing; exit 1 when the table is stale.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="The file that a reproduction starts from, where the hub cannot be reached.")
    ] = None,
    results: Results = RESULTS,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train listed reproductions, evaluate them on test episodes, and compare with the published numbers.

    Example: bench reproduce protonet-omniglot
    """
    from ...pipeline.reproduction import load
    from ...pipeline.reproduction import names as known

    chosen, on = Effort(**effort), Engine(**engine)
    asked = [bool(names), all_, list_, page is not None]
    if asked.count(True) != 1:
        raise UsageError("bench reproduce takes names of reproductions, or one of --all, --list and --page FILE")
    if check and page is None:
        raise UsageError("--check goes with --page FILE")
    if page is not None:
        _fill(page, results, check)
    elif list_:
        _list(results)
    else:
        wanted = names or known()
        if weights is not None and len(wanted) != 1:
            raise UsageError(f"--weights {weights}: goes with the name of one reproduction")
        pipelines = [load(name, weights) for name in wanted]
        from ...pipeline.running import Call  # torch is imported from here on, after mistakes in names are told
        from ..parts.terminal import TerminalProgress

        _run(pipelines, Call(results, TerminalProgress(), device, **vars(chosen), engine=on))


def _fill(page: Path, results: Path, check: bool) -> None:
    from ...reporting.reproduction import update

    stale = update(page, results, check)
    if check and stale:
        say(f"{page} is stale; run 'bench reproduce --page {page}'", err=True)
        raise typer.Exit(1)
    say(page)


def _list(results: Path) -> None:
    from ...pipeline.reproduction import all_reproductions, compare
    from ...reporting.reproduction import NOT_RUN
    from ..parts.terminal import print_table

    rows = []
    for one in all_reproductions():
        assert one.published is not None
        comparisons = compare(one, results)
        done = sum(each.record is not None for each in comparisons)
        state = f"trained, {done} of {len(comparisons)} evaluated" if comparisons[0].about else NOT_RUN
        rows.append([one.name, one.published.summary, one.published.budget, state])
    print_table(("name", "what", "budget", "state"), rows)


def _run(pipelines: list[Pipeline], call: Call) -> None:
    from ...pipeline.reproduction import compare
    from ...pipeline.running import carry_out_pipelines
    from ...reporting.reproduction import HEADERS, NUMERIC, row
    from ..parts.terminal import print_table

    carry_out_pipelines(pipelines, call)
    comparisons = [one for pipeline in pipelines for one in compare(pipeline, call.results)]
    right = [number for number, numeric in enumerate(NUMERIC) if numeric]
    print_table(HEADERS, [row(one) for one in comparisons], right=right)
    for one in comparisons:
        say(one.path)
