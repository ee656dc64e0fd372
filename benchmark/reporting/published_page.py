"""The generated parts of docs/published.md: the best numbers, quotes and reruns beside papers, ours beside published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

from ...core.errors import UsageError, UserError, did_you_mean
from ..built_in import BUILT_IN
from ..config import RunConfig
from ..published.beside import Beside, beside_own, place
from ..published.number import NOT_STATED, PublishedNumber, Setting, Task
from ..published.table import FILE, published_numbers
from .leaderboard import load_boards
from .markdown import EMPTY, accuracy_cell, table_lines
from .quotes import Quote

FORM = "best|spread|ours"
SETTINGS: tuple[Setting, ...] = ("inductive", "transductive", "semi-supervised")
TRAIN_AND_VAL = "train-and-val-classes"
WAYS, SHOTS = 5, (1, 5)
SAME = 0.05  # points: numbers with one decimal round to the same
TRAINING = {False: "train classes", True: "external data"}  # by `external`


def published_part(query: str, results: Path) -> list[str]:
    """The lines of a part of the page.

    Args:
        query: `best`, `spread` or `ours`.
        results: folder of the table, and of the records.

    Raises:
        UserError: there is no part of that name, no table, or the table is not right.
    """
    parts: dict[str, Callable[[], list[str]]] = {
        "best": lambda: best_lines(numbers),
        "spread": lambda: spread_lines(numbers),
        "ours": lambda: ours_lines(compared_runs(results)),
    }
    if query not in parts:
        raise UsageError(f"no part '{query}'; {did_you_mean(query, parts)}")
    numbers = published_numbers(results)
    if not numbers:
        raise UserError(f"{results / FILE}: no number in it")
    return parts[query]()


def best_lines(numbers: Sequence[PublishedNumber]) -> list[str]:
    """A table of the best number of each dataset, training data and setting, and a sentence that counts all of them."""
    rows, taken = [], 0
    for dataset in BUILT_IN["datasets"]:
        for external in (False, True):
            for setting in SETTINGS:
                of_shots = [
                    [n for n in numbers if _comparable(n, Task(dataset, "uniform", WAYS, shots), setting, external)]
                    for shots in SHOTS
                ]
                taken += sum(map(len, of_shots))
                if any(of_shots):
                    rows.append([dataset, TRAINING[external], setting, *(cell for found in of_shots for cell in _best(found))])
    heads = ["dataset", "trained on", "setting"]
    for shots in SHOTS:
        heads += [f"{WAYS}-way {shots}-shot", "method, backbone, kind"]
    numeric = [False, False, False, *[True, False] * len(SHOTS)]
    count = f"The best of {taken:,} numbers; the other {len(numbers) - taken:,} are of other tasks, datasets or training data."
    return [*table_lines(heads, rows, numeric), "", count]


def _comparable(number: PublishedNumber, task: Task, setting: str, external: bool) -> bool:
    return (
        (number.task, number.setting, number.external) == (task, setting, external)
        and number.pretraining not in (TRAIN_AND_VAL, NOT_STATED)
    )  # fmt: skip


def _best(found: Sequence[PublishedNumber]) -> tuple[str, str]:
    """The number and what reached it; of equals the paper's own, and one with a backbone that is stated."""
    if not found:
        return EMPTY, EMPTY
    best = min(found, key=lambda number: (-number.accuracy, place(number), not number.backbone_stated))
    return best.printed, f"{best.method}, {best.backbone}, {best.kind}"


def spread_lines(numbers: Sequence[PublishedNumber]) -> list[str]:
    """Three sentences on quotes and reruns beside the papers' own numbers."""
    pairs = [one for one in beside_own(numbers) if one.own is not None]
    quotes, reruns = ([one for one in pairs if one.number.kind == kind] for kind in ("quoted", "rerun"))
    if len(quotes) < 2 or len(reruns) < 2:
        return ["There are too few quotes and reruns of numbers whose paper's own is known."]
    own = len({id(one.own) for one in pairs})
    equal = sum(abs(_difference(one)) < SAME for one in quotes)
    farthest = max(quotes, key=lambda one: abs(_difference(one)))
    low, _, high = quantiles(map(_difference, reruns), n=4)
    below = sum(_difference(one) < 0 for one in reruns)
    told = [one for one in reruns if one.number.half_width is not None or (one.own and one.own.half_width is not None)]
    return [
        f"{len(quotes)} quotes and {len(reruns)} reruns stand beside {own} of the papers' own numbers: same method, backbone, "
        "training data, task and setting.",
        f"{equal} of the {len(quotes)} quotes equal the paper's number within {SAME:g} points; the farthest is "
        f"{_difference(farthest):+.2f} points away ({_experiment(farthest)}).",
        f"The reruns lie {median(map(_difference, reruns)):+.2f} points from the paper in the median, half of them between "
        f"{low:+.2f} and {high:+.2f}; {below} of {len(reruns)} are below it, and {sum(one.apart for one in told)} of the "
        f"{len(told)} that can be judged by an interval differ by more than both intervals.",
    ]


def _difference(one: Beside) -> float:
    assert one.difference is not None  # pairs alone come here
    return one.difference


def _experiment(one: Beside) -> str:
    number = one.number
    return f"{number.method}, {number.backbone}, {number.task.dataset} {number.task}, in {number.source.partition('@')[0]}"


def compared_runs(results: Path) -> list[Quote]:
    """The runs on the boards of a results folder that stand beside a published number, each with that number."""
    rows = [row for _, quotes in load_boards(results).boards for row in quotes.beside.values()]
    return [quote for row in rows for quote in row.cells if quote is not None and quote.ours is not None]


def ours_lines(quotes: Sequence[Quote]) -> list[str]:
    """A sentence that counts our runs beside published numbers by verdict, and a table of them."""
    if not quotes:
        return ["No run of ours stands beside a published number yet."]
    count = Counter(quote.verdict for quote in quotes)
    rows = [
        [
            quote.number.task.dataset,
            _task(quote),
            quote.number.method,
            quote.number.backbone,
            f"{quote.number.printed} ({quote.number.kind})",
            "" if quote.ours is None else accuracy_cell(quote.ours),
            "" if quote.difference is None else f"{quote.difference:+.2f}",
            quote.verdict or "",
        ]
        for quote in quotes
    ]
    heads = ["dataset", "task", "method", "backbone", "published", "ours", "difference", "verdict"]
    return [
        f"{len(quotes)} runs of ours stand beside a published number: {count['within']} lie within both intervals, "
        f"{count['above']} above and {count['below']} below.",
        "",
        *table_lines(heads, rows, [False, False, False, False, True, True, True, False]),
    ]


def _task(quote: Quote) -> str:
    """The task, with our number of queries where that is not the usual one."""
    queries = None if quote.ours is None else quote.ours.task.queries
    unusual = queries not in (None, RunConfig.queries)
    return f"{quote.number.task}{f', {queries} queries a class' if unusual else ''}".replace("1 queries", "1 query")
