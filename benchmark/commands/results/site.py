"""`bench site`: a static site of all records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results
from ..parts.lines import say


def site(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write; an older site there is replaced.")],
    include: Annotated[
        list[Path] | None, typer.Option(help="Another results folder whose records are shown too; may be repeated.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write all records as a site of HTML pages, which need no server and no network.

    Example: bench site my-site --include results/studies/semantic
    """
    from ...pipeline.reproduction import all_reproductions, compare
    from ...reporting.leaderboard import load_boards
    from ...reporting.site.folder import check_place, write_site
    from ...reporting.site.pages import files_of

    check_place(folder)
    found = load_boards(results, include or [])
    for _, problem in found.problems:
        say(f"warning: {problem}; skipped", err=True)
    comparisons = [one for pipeline in all_reproductions() for one in compare(pipeline, results)]
    write_site(files_of(found, comparisons, results), folder)
    say(folder / "index.html")
