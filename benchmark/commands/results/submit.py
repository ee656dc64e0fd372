"""`bench submit --check`: whether records that somebody sends can stand on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results
from ..parts.lines import say
from ..parts.where import Weights, where


def submit(
    check: Annotated[Path, typer.Option(help="Folder with the records that are sent.")],
    episodes: Annotated[int, typer.Option(help="Answer so many of the first episodes of each record again.", min=1)] = 200,
    weights: Weights = None,
    results: Results = RESULTS,
) -> None:
    """Check records that somebody sends: their form, hashes, episodes, derived numbers, and a sample of their answers.

    The exit code is 1 if a record cannot be taken.

    Example: bench submit --check their-results
    """
    from ...evaluation.submission import check_submission
    from ..parts.terminal import TerminalProgress

    found = check_submission(check, episodes, where(results, weights=weights), TerminalProgress())
    for one in found:
        again = "" if one.again is None else f" ({one.again.episodes} episodes again, {one.again.differing} differ)"
        say(f"{'refused' if one.problems else 'sound'}: {one.path}{again}")
        for text in (*one.problems, *one.notes):
            say(f"  {text}")
    refused = sum(bool(one.problems) for one in found)
    untried = sum(one.again is None and not one.problems for one in found)
    sound = len(found) - refused
    say(f"of {len(found)} records {sound} are sound, {untried} of them without a sample run again; {refused} refused")
    if refused:
        raise typer.Exit(1)
