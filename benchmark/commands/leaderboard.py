"""`bench leaderboard`: regenerate leaderboard.md from the records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .lines import say


def leaderboard(
    results: Annotated[Path, typer.Option(help="Results folder, which holds records/ and figures/.")] = Path("results"),
    output: Annotated[Path, typer.Option(help="The file; text outside its two markers is kept.")] = Path("leaderboard.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when the file is stale or a record is corrupt.")
    ] = False,
) -> None:
    """Regenerate the leaderboard from the records of all runs.

    Example: bench leaderboard
    """
    from ..reporting.leaderboard import update

    done = update(output, results / "records", check)
    for _, problem in done.problems:
        say(f"warning: {problem}; skipped", err=True)
    if check and done.stale:
        say(f"{output} is stale; run 'bench leaderboard'", err=True)
    if check and (done.stale or done.problems):
        raise typer.Exit(1)
    say(output)
