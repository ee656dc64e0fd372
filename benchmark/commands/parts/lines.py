"""Lines that commands print: paths, warnings and JSON."""

from __future__ import annotations

import typer

from ....core.errors import printable


def say(line: object, err: bool = False) -> None:
    """Print one line, such as a path: a newline in a name is escaped and does not split the line.

    Args:
        line: what is printed.
        err: to standard error.
    """
    typer.echo(printable(str(line)), err=err)
