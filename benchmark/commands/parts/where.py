"""Options that say where the files are that a record names without their folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...evaluation.rerun import Where

Weights = Annotated[
    str | None, typer.Option(help="Where the weights are; default: shipped, or of that name in checkpoints/ of --results.")
]
Method = Annotated[str | None, typer.Option(help="Where the method is, if it is one of a file.")]
Dataset = Annotated[str | None, typer.Option(help="Where the dataset is, if it is one of a file.")]
Testbed = Annotated[Path | None, typer.Option(help="Where the testbed is, if there is one.")]
Prompts = Annotated[str | None, typer.Option(help="Where the prompts are, if they are of a file.")]
ClassNames = Annotated[Path | None, typer.Option(help="Where the class names are, if they are of a file.")]


def where(results: Path, **named: str | Path | None) -> Where:
    """What the user named, and the results folder, whose checkpoints are looked through for what was not named."""
    from ...evaluation.rerun import Where

    return Where({name: value for name, value in named.items() if value is not None}, results / "checkpoints")
