"""`bench leaderboard`: regenerate leaderboard.md from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import RESULTS, results_option
from .folders import Results
from .lines import say


def leaderboard(
    results: Results = RESULTS,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file; text outside its two markers is kept. Default: leaderboard.md, with --results in its folder."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when the file is stale or a record is corrupt.")
    ] = False,
) -> None:
    """Regenerate the leaderboard from the records of all runs.

    Example: bench leaderboard
    """
    from ..reporting.leaderboard import update

    output = output or (Path() if results == RESULTS else results) / "leaderboard.md"
    done = update(output, results / "records", check)
    for _, problem in done.problems:
        say(f"warning: {problem}; skipped", err=True)
    if check and done.stale:
        say(f"{output} is stale; run 'bench leaderboard{results_option(results)}'", err=True)
    if check and (done.stale or done.problems):
        raise typer.Exit(1)
    say(output)
