"""`bench compare`: records of one task in pairs, or mean ranks over several tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UsageError
from ...config import RESULTS
from ..parts import lines
from ..parts.folders import Results, in_results

if TYPE_CHECKING:
    from ...records.comparison import Pair
    from ...records.record import RunRecord

SMALLEST = 1e-99  # p-values below it are printed as less than it


def compare(
    records: Annotated[list[Path], typer.Argument(help="Record files, or their paths in the records/ of --results.")],
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    across: Annotated[bool, typer.Option("--across", help="The records are of several tasks: mean ranks over them.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a critical-difference diagram into this .svg or .png file.")] = None,
    results: Results = RESULTS,
) -> None:
    """Compare records of one task episode by episode: differences with intervals, p-values, and mean ranks.

    Example: bench compare results/records/…/protonet-….json results/records/…/ridge-….json
    """
    from ...records.store import load_record

    if len(records) < 2:
        raise UsageError(f"{len(records)} record; give two or more to compare")
    if across and plot:
        raise UsageError("--plot draws the ranks of one task; leave out --across")
    if plot:
        from ...reporting.figures.canvas import form_of

        form_of(plot, option="--plot")  # a name that no figure can have is told before anything is computed
    loaded = [load_record(in_results(path, results, "records")) for path in records]
    if across:
        _ranks_over_tasks(loaded, level)
        return
    from ...records.comparison import compare_pairs
    from ...records.ranking import compare_records

    for record in loaded[1:]:
        compare_records(loaded[0], record, level)  # so that a message has the records in the order given
    loaded.sort(key=lambda record: -record.mean)
    pairs = compare_pairs(loaded, level)
    _runs(loaded)
    _pairs(loaded, pairs, level)
    _trainings(loaded, level)
    if plot:
        _draw(loaded, pairs, level, plot)


def _runs(records: list[RunRecord]) -> None:
    """A table of the runs, each with a letter."""
    from ...records.comparison import ranks_of_episodes
    from ...records.labels import labels_of
    from ...records.ranking import better_than, rank_ranges
    from ...records.statistics import in_percent
    from ..parts.terminal import print_table

    ranks = ranks_of_episodes(records)
    ranges = rank_ranges(better_than([record.accuracies for record in records]))
    rows = [
        [_letter(place), str(label), in_percent(record.mean, record.half_width, record.n_episodes), str(ranges[place]),
         f"{ranks[place]:.2f}"]
        for place, (record, label) in enumerate(zip(records, labels_of(records), strict=True))
    ]  # fmt: skip
    print_table(("", "run", "accuracy %", "rank", "mean rank over episodes"), rows, right=(2, 3, 4))
    lines.say("")


def _pairs(records: list[RunRecord], pairs: list[Pair], level: float) -> None:
    """A table of all pairs, by their letters."""
    from ...records.statistics import FEWEST, in_percent
    from ..parts.terminal import print_table

    adjusted = ", Holm" if len(pairs) > 1 else ""
    headers = (
        *("pair", f"difference, points ± {100 * level:g} % interval", f"p (t{adjusted})", f"p (Wilcoxon{adjusted})"),
        *("wins/ties/losses", "episodes"),
    )
    rows = []
    for pair in pairs:
        found = pair.difference
        rows.append([
            f"{_letter(pair.first)} - {_letter(pair.second)}",
            ("+" if found.mean >= 0 else "") + in_percent(found.mean, found.half_width, found.n),
            *(_p_value(p) if found.n >= FEWEST else "-" for p in (pair.t, pair.wilcoxon)),
            f"{pair.wins}/{pair.ties}/{pair.losses}",
            str(found.n),
        ])  # fmt: skip
    print_table(headers, rows, right=range(1, len(headers)))


def _trainings(records: list[RunRecord], level: float) -> None:
    """A table of the runs that differ in the seed of their training alone, where there are such."""
    from ...records.trainings import trainings_of
    from ..parts.terminal import percent, print_table

    rows = []
    for found in trainings_of(records, level):
        mean, half_width, lowest, highest = map(
            percent, (found.interval.mean, found.interval.half_width, found.lowest, found.highest)
        )
        runs = ", ".join(_letter(place) for place in found.places)
        rows.append([runs, ", ".join(map(str, found.seeds)), f"{mean} ± {half_width}", lowest, highest])
    if rows:
        lines.say("")
        heads = (
            "runs",
            "seeds of the training",
            f"accuracy % over trainings ± {100 * level:g} % interval",
            "lowest",
            "highest",
        )
        print_table(heads, rows, right=(2, 3, 4))


def _letter(place: int) -> str:
    """A to Z, then AA, AB and so on."""
    before, last = divmod(place, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)


def _p_value(p: float) -> str:
    return f"{p:.2g}" if p >= SMALLEST else f"< {SMALLEST:g}"


def _ranks_over_tasks(records: list[RunRecord], level: float) -> None:
    from ...records.comparison import by_task, mean_ranks
    from ..parts.terminal import percent, print_table

    names, tasks = by_task(records)
    found = mean_ranks(tasks, level)
    rows = [
        [names[place], f"{found[place].mean:.2f}", f"{found[place].low:.2f} to {found[place].high:.2f}",
         *(percent(row[place].mean) for row in tasks)]
        for place in sorted(range(len(names)), key=lambda place: found[place].mean)
    ]  # fmt: skip
    titles = [f"{row[0].task.dataset}, {row[0].task.ways}-way {row[0].task.shots}-shot %" for row in tasks]
    headers = ("method, backbone", "mean rank", f"{100 * level:g} % interval", *titles)
    print_table(headers, rows, right=range(1, len(headers)))


def _draw(records: list[RunRecord], pairs: list[Pair], level: float, file: Path) -> None:
    import numpy as np

    from ....core.files import write_atomically
    from ...records.comparison import ranks_of_episodes
    from ...records.labels import labels_of
    from ...records.task_words import task_label
    from ...reporting.figures.canvas import form_of
    from ...reporting.figures.critical_difference import draw_critical_difference

    form = form_of(file)
    apart = np.zeros((len(records), len(records)), dtype=bool)
    for pair in pairs:
        apart[pair.first, pair.second] = apart[pair.second, pair.first] = pair.wilcoxon < 1 - level
    found, methods = labels_of(records), [record.method.name for record in records]
    labels = [label.method if len({one.backbone for one in found}) == 1 else str(label) for label in found]
    write_atomically(
        file, draw_critical_difference(labels, methods, list(ranks_of_episodes(records)), apart, task_label(records[0]), form)
    )
    lines.say(file)
