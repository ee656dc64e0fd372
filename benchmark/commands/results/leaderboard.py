"""`bench leaderboard`: the boards of all records, in leaderboard.md or printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UsageError, did_you_mean
from ...config import RESULTS, results_option
from ..parts.folders import Results
from ..parts.lines import say

if TYPE_CHECKING:
    from ...reporting.board import Board
    from ...reporting.leaderboard import Boards
    from ...reporting.quotes import Quotes

FORMATS = ("text", "markdown", "csv", "latex", "json")


def leaderboard(
    results: Results = RESULTS,
    include: Annotated[
        list[Path] | None, typer.Option(help="Another results folder whose records are shown too; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file; text outside its two markers is kept. Default: leaderboard.md, with --results in its folder."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when the file is stale or a record is corrupt.")
    ] = False,
    format_: Annotated[
        str | None, typer.Option("--format", help=f"Print the boards instead of writing the file: {', '.join(FORMATS)}.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Print the boards of this dataset; may be repeated.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Print the boards with rows grouped by backbone, method, setting or none.")
    ] = None,
) -> None:
    """Regenerate leaderboard.md and its figures from records, or print the boards.

    Example: bench leaderboard --dataset omniglot --format latex
    """
    if format_ or dataset or group_by:
        if check:
            raise UsageError("--check compares the file; it does not go with --format, --dataset or --group-by")
        _print(results, include or [], format_ or FORMATS[0], dataset or [], group_by or "backbone")
        return
    from ...reporting.leaderboard import update

    output = output or (Path() if results == RESULTS else results) / "leaderboard.md"
    done = update(output, results, include or [], check)
    _warn(done.problems)
    if check and done.stale:
        say(f"{output} is stale; run 'bench leaderboard{results_option(results)}'", err=True)
    if check and (done.stale or done.problems):
        raise typer.Exit(1)
    say(output)


def _print(results: Path, include: list[Path], format_: str, datasets: list[str], group_by: str) -> None:
    from ...reporting.board import GROUPINGS
    from ...reporting.leaderboard import load_boards

    for option, value, known in (("--format", format_, FORMATS), ("--group-by", group_by, GROUPINGS)):
        if value not in known:
            raise UsageError(f"{option} {value}: unknown; {did_you_mean(value, known)}")
    found = load_boards(results, include, group_by, datasets)
    _warn(found.problems)
    if datasets and not found.boards:
        raise UsageError(f"no complete record is of dataset {' or '.join(datasets)}")
    if format_ == "text":
        _print_tables(found)
    else:
        for line in _lines(found.boards, format_):
            say(line)


def _print_tables(found: Boards) -> None:
    from ...reporting.formats import heads_of, text_of
    from ..parts.terminal import print_table

    for place, (board, quotes) in enumerate(found.boards):
        if place:
            say("")
        say(board.title)
        heads = heads_of(board)
        print_table(heads, text_of(board, quotes), right=range(2, len(heads)))


def _lines(boards: Sequence[tuple[Board, Quotes]], format_: str) -> list[str]:
    from ...reporting.entries import csv_of, entries_of, json_of
    from ...reporting.formats import latex_of, markdown_of

    if format_ in ("csv", "json"):
        entries = [entry for board, quotes in boards for entry in entries_of(board, quotes)]
        return (csv_of(entries) if format_ == "csv" else json_of(entries)).splitlines()
    lines: list[str] = []
    for board, quotes in boards:
        lines += [""] if lines else []
        lines += [f"## {board.title}", "", *markdown_of(board, quotes)] if format_ == "markdown" else latex_of(board, quotes)
    return lines


def _warn(problems: Sequence[tuple[Path, str]]) -> None:
    for _, problem in problems:
        say(f"warning: {problem}; skipped", err=True)
