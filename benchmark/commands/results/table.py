"""`bench table`: fill the tables of markdown pages from records and published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS, results_option
from ..parts.folders import Results
from ..parts.lines import say


def table(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.md", help="Pages with blocks to fill.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when a table is stale.")] = False,
    results: Results = RESULTS,
) -> None:
    """Fill every block of a page from `<!-- table: ... -->` to `<!-- /table -->` with accuracies of records.

    A block says `records=GLOB rows=FIELD columns=FIELD,FIELD` and, to leave records out, `where=FIELD:VALUE,FIELD:VALUE`. The
    glob counts from the current folder; at its beginning, results/ is the folder of --results. A field is a dotted path into a
    record, such as task.shots or `backbone.tune as tune`. A block `<!-- effects: records=GLOB -->` has what each stage of
    P>M>F changes, and `<!-- differences: records=GLOB -->` how far the answers of trainings differ. Blocks
    `<!-- published: best|spread|ours -->` are about published.csv, and a block `<!-- summary: all|published -->` is the
    leaderboard's summary, or its rows with a published number. A block `<!-- decodability: GLOB -->` has files of
    `bench probe`.

    Example: bench table docs/pretraining.md
    """
    from ...reporting.pages import update_page
    from ...reporting.parts import parts

    stale = [file for file in files if update_page(file, parts(results), check)]
    if check and stale:
        names = " ".join(map(str, stale))
        again = f"bench table {names}{results_option(results)}"
        say(f"{names} {'is' if len(stale) == 1 else 'are'} stale; run '{again}'", err=True)
        raise typer.Exit(1)
    for file in files:
        say(file)
