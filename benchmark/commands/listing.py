"""`bench list`: registered names and records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import UsageError, did_you_mean

KINDS = ("methods", "datasets", "backbones", "samplers", "results")


def list_(
    kind: Annotated[str, typer.Argument(help="methods, datasets, backbones, samplers or results.")],
    results: Annotated[Path, typer.Option(help="Results folder.")] = Path("results"),
) -> None:
    """List methods, datasets, backbones, samplers or results.

    Example: bench list methods
    """
    if kind not in KINDS:
        raise UsageError(f"cannot list '{kind}'; {did_you_mean(kind, KINDS)}")
    if kind == "results":
        _list_results(results)
    else:
        _list_entries(kind)


def _list_entries(kind: str) -> None:
    from .. import registry
    from .terminal import print_table

    rows = [[entry.name, entry.origin, registry.summary(entry)] for entry in registry.entries(kind).values()]
    print_table(("name", "from", "what it is"), rows)


def _list_results(results: Path) -> None:

    from ..records.store import load_records
    from .terminal import percent, print_table

    records, problems = load_records(results / "records")
    rows = []
    for path, record in records:
        accuracy = f"{percent(record.mean)} ± {percent(record.half_width)}"
        rows.append([record.method.name, record.backbone.name, accuracy, str(record.n_episodes), record.status, str(path)])
    print_table(("method", "backbone", "accuracy %", "episodes", "status", "record"), rows, right=(2, 3))
    for _, problem in problems:
        typer.echo(f"warning: {problem}", err=True)
