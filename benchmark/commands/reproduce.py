"""`bench reproduce`: published numbers, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import UsageError

if TYPE_CHECKING:
    from ..pipeline.recipe import Recipe


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Recipes (bench reproduce --list).")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every recipe.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes and how far they are.")] = False,
    page: Annotated[Path | None, typer.Option(help="Fill the table of this page from what was run; runs nothing.")] = None,
    check: Annotated[bool, typer.Option("--check", help="With --page: write nothing; exit 1 when the table is stale.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="The file that a recipe starts from, where the hub cannot be reached.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Results folder, for checkpoints/ and records/.")] = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    time_limit: Annotated[
        float | None, typer.Option(help="Stop a training after so many seconds; the same command goes on.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train and evaluate anew.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin an interrupted training anew.")] = False,
) -> None:
    """Train listed recipes, evaluate them on test episodes, and compare with the published numbers.

    Example: bench reproduce protonet-omniglot
    """
    from ..pipeline import recipe

    asked = [bool(names), all_, list_, page is not None]
    if asked.count(True) != 1:
        raise UsageError("bench reproduce takes names of recipes, or one of --all, --list and --page FILE")
    if check and page is None:
        raise UsageError("--check goes with --page FILE")
    if page is not None:
        _fill(page, results, check)
    elif list_:
        _list(results)
    else:
        wanted = [recipe.load(name) for name in (names or recipe.names())]
        if weights is not None and len(wanted) != 1:
            raise UsageError(f"--weights {weights}: goes with the name of one recipe")
        _run(wanted, results, device, time_limit, overwrite, force, weights)


def _fill(page: Path, results: Path, check: bool) -> None:
    from ..pipeline.page import update_page

    stale = update_page(page, results, check)
    if check and stale:
        typer.echo(f"{page} is stale; run 'bench reproduce --page {page}'", err=True)
        raise typer.Exit(1)
    typer.echo(page)


def _list(results: Path) -> None:
    from ..pipeline.comparison import compare
    from ..pipeline.page import NOT_RUN
    from ..pipeline.recipe import all_recipes
    from .terminal import print_table

    rows = []
    for one in all_recipes():
        comparisons = compare(one, results)
        done = sum(each.record is not None for each in comparisons)
        state = f"trained, {done} of {len(comparisons)} evaluated" if comparisons[0].about else NOT_RUN
        rows.append([one.name, one.summary, one.budget, state])
    print_table(("recipe", "what", "budget", "state"), rows)


def _run(
    wanted: list[Recipe],
    results: Path,
    device: str,
    time_limit: float | None,
    overwrite: bool,
    force: bool,
    weights: Path | None,
) -> None:
    from ..pipeline.page import HEADERS, NUMERIC, row
    from ..pipeline.reproducing import reproduce as reproduce_one
    from .terminal import TerminalProgress, print_table

    comparisons = []
    for one in wanted:
        comparisons += reproduce_one(one, results, TerminalProgress(), device, time_limit, overwrite, force, weights)
    right = [number for number, numeric in enumerate(NUMERIC) if numeric]
    print_table(HEADERS, [row(one) for one in comparisons], right=right)
    for one in comparisons:
        typer.echo(one.path)
