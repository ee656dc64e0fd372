"""`bench merge`: records of several machines in one results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results
from ..parts.lines import say


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of other machines.")],
    results: Results = RESULTS,
) -> None:
    """Bring the records of several results folders together, each at its place in --results.

    Records of one run that differ in nothing but time, machine and command line are one. Records of one run with other answers
    are named and left out, and the exit code is 1.

    Example: bench merge node1/results node2/results
    """
    from ...records.merging import merge as merge_records

    merged = merge_records(folders, results)
    for path in merged.added:
        say(path)
    for problem in merged.problems:
        say(f"left out: {problem}")
    say(f"{len(merged.added)} records added, {merged.known} were there, {len(merged.problems)} left out")
    if merged.problems:
        raise typer.Exit(1)
