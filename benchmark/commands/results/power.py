"""`bench power`: how many episodes tell two methods apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results, in_results


def power(
    a: Annotated[Path, typer.Argument(help="Record file, or its path in the records/ of --results.")],
    b: Annotated[Path, typer.Argument(help="Record file of the same task.")],
    difference: Annotated[float, typer.Option(help="True difference of the mean accuracies to be found, in points.")] = 0.5,
    power: Annotated[float, typer.Option(help="Chance to find it.")] = 0.8,
    level: Annotated[float, typer.Option(help="Confidence level of the test.")] = 0.95,
    results: Results = RESULTS,
) -> None:
    """Say how many episodes tell two methods apart, from the paired differences of two runs.

    Example: bench power results/records/…/protonet-….json results/records/…/ridge-….json --difference 0.5
    """
    from ...records.labels import labels_of
    from ...records.power import power_of
    from ...records.ranking import compare_records
    from ...records.store import load_record
    from ..parts.terminal import print_table

    first, second = (load_record(in_results(path, results, "records")) for path in (a, b))
    common = compare_records(first, second, level).n
    found = power_of(first.accuracies[:common], second.accuracies[:common], difference / 100, power, level)
    headers = (
        "A",
        "B",
        "deviation of A - B, points",
        "correlation",
        "episodes needed",
        "with episodes of their own",
        "from episodes",
    )
    row = [
        *map(str, labels_of([first, second])),
        f"{100 * found.deviation:.2f}",
        "-" if found.correlation is None else f"{found.correlation:.2f}",
        f"{found.episodes:,}",
        f"{found.unpaired:,}",
        f"{common:,}",
    ]
    print_table(headers, [row], right=range(2, len(headers)))
