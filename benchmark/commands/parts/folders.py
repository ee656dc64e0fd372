"""`--results`: the folder in which commands find and put records, checkpoints and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS_HELP

Results = Annotated[Path, typer.Option(help=RESULTS_HELP)]
OlderResults = Annotated[Path | None, typer.Option(hidden=True)]  # another name that a command had for --results


def in_results(path: Path, results: Path, kind: str) -> Path:
    """A file that the user named by its path, or by its path in a folder of the results.

    Args:
        path: as typed.
        results: the results folder.
        kind: the folder in it, "records" or "checkpoints".
    """
    inside = results / kind / path
    return inside if inside.exists() and not path.exists() else path
