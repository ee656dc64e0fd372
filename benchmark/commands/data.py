"""`bench data`: prepare datasets from a copy that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Prepare datasets.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Prepare datasets."""


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Dataset (bench list datasets).")],
    source: Annotated[Path | None, typer.Option("--from", help="A copy that you have; without it, download or render.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Parameter of the dataset, name=value.")] = None,
) -> None:
    """Prepare all class splits of a dataset in the cache.

    Example: bench data prepare omniglot --from omniglot/python
    """
    from ...tasks.datasets.base import Dataset
    from ...tasks.parameters import build, parse_assignments
    from .. import registry
    from .terminal import TerminalProgress, print_table

    cls = registry.load(registry.find("datasets", name))
    dataset: Dataset = build(cls, parse_assignments(set_ or []), f"dataset {name}")
    splits = dataset.prepare(source, progress=TerminalProgress(), again=source is not None)
    rows = [
        [
            split.name,
            str(len(split.class_ids)),
            str(len(split.images)),
            "×".join(map(str, split.images.shape[1:])),
            split.fingerprint[:12],
        ]
        for split in splits.values()
    ]
    print_table(("split", "classes", "images", "height×width×channels", "fingerprint"), rows, right=(1, 2))
    typer.echo(dataset.folder())
