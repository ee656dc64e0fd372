"""`bench compare`: the paired difference of two records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RESULTS
from ..parts.folders import Results, in_results


def compare(
    a: Annotated[Path, typer.Argument(help="Record file, or its path in the records/ of --results.")],
    b: Annotated[Path, typer.Argument(help="Record file of the same task.")],
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    results: Results = RESULTS,
) -> None:
    """Compare two records episode by episode: mean difference, its interval and a p-value.

    Example: bench compare results/records/…/protonet-….json results/records/…/ridge-….json
    """
    from ...records.labels import labels_of
    from ...records.ranking import compare_records
    from ...records.statistics import FEWEST, in_percent
    from ...records.store import load_record
    from ..parts.terminal import percent, print_table

    first, second = (load_record(in_results(path, results, "records")) for path in (a, b))
    difference = compare_records(first, second, level)
    headers = ("A", "B", "A %", "B %", f"A - B, points ± {100 * level:g} % interval", "p-value", "episodes")
    row = [
        *map(str, labels_of([first, second])),
        percent(first.accuracies[: difference.n].mean()),
        percent(second.accuracies[: difference.n].mean()),
        ("+" if difference.mean >= 0 else "") + in_percent(difference.mean, difference.half_width, difference.n),
        f"{difference.p_value:.2g}" if difference.n >= FEWEST else "-",
        str(difference.n),
    ]
    print_table(headers, [row], right=(2, 3, 4, 5, 6))
