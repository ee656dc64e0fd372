"""The table of `bench list published`."""

from __future__ import annotations

import re
from pathlib import Path

from ....core.errors import UserError
from ....core.options import Settings
from ...published.beside import Beside
from ...published.choice import Choice
from ...published.number import KINDS, PublishedNumber
from ...published.table import FILE, published_numbers
from ..parts.lines import say

SHORT_HASH = 7  # digits of a commit
APART = "≠"


def list_published(results: Path, options: Settings) -> None:
    """Print the published numbers that the options choose, with their sources, and in a line how many were left out.

    Without options the datasets are printed, with the numbers that there are of each.

    Args:
        results: folder of published.csv; without one, the package's counts.
        options: of `Choice`, as typed.

    Raises:
        UsageError: a value occurs nowhere in the table.
        UserError: the table is empty or not right.
    """
    numbers, choice = published_numbers(results), Choice(**options)
    if not numbers:
        raise UserError(f"{results / FILE}: no number in it")
    if not options:
        _print_datasets(numbers)
        return
    found = choice.of(numbers)
    if found:
        _print_numbers(found, choice, len(numbers) - len(found))
    else:
        there_is = choice.instead(numbers)
        say(f"no published number has all of {_words(choice)}{f'; {there_is}' if there_is else ''}")


def _print_datasets(numbers: list[PublishedNumber]) -> None:
    from ..parts.terminal import print_table

    of_dataset: dict[str, list[PublishedNumber]] = {}
    for number in numbers:
        of_dataset.setdefault(number.task.dataset, []).append(number)
    rows = [
        [name, str(len({one.method for one in of_it})), *(str(sum(one.kind == kind for one in of_it)) for kind in KINDS)]
        for name, of_it in of_dataset.items()
    ]
    print_table(("dataset", "methods", *KINDS), rows, right=range(1, 2 + len(KINDS)))
    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    say(f"{len(numbers):,} published numbers ({kinds}); --dataset NAME lists those of a dataset")


def _print_numbers(found: list[Beside], choice: Choice, others: int) -> None:
    from ..parts.terminal import print_table

    rows = [_cells(one) for one in found]
    headers = [name for name in rows[0] if name not in choice.given]
    right = [column for column, name in enumerate(headers) if name == "accuracy %"]
    print_table(headers, [[row[name] for name in headers] for row in rows], right)
    numbers = "1 published number" if len(found) == 1 else f"{len(found):,} published numbers"
    say(f"{numbers} of {_words(choice)}; {others:,} left out")
    if any(one.apart for one in found):
        say(f"{APART} differs from the paper's own number by more than both intervals")


def _cells(one: Beside) -> dict[str, str]:
    number = one.number
    return {
        "method": number.method,
        "backbone": number.backbone,
        "pretraining": number.pretraining,
        "dataset": number.task.dataset,
        "task": str(number.task),
        "accuracy %": f"{number.printed}{f' {APART}' if one.apart else ''}",
        "setting": number.setting,
        "kind": number.kind,
        "source": re.sub(r"@([0-9a-f]{40})", lambda commit: f"@{commit[1][:SHORT_HASH]}", number.source),
    }


def _words(choice: Choice) -> str:
    return ", ".join(f"{name} {value}" for name, value in choice.given.items())
