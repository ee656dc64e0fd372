"""The leaderboard: a summary and the boards of all datasets between two markers of a file, made from records alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import results_option
from ..published.table import published_numbers
from ..records.identity import file_safe
from ..records.store import load_records
from .board import GROUPINGS, Board, Found, boards_of
from .formats import CONTESTED, Cut, markdown_of
from .markdown import escaped
from .pages import Part, update_page, write_if_changed
from .quotes import Quotes, quotes_of
from .summary import OPENING, link_to, summary_of

MOST = 8  # rows of a group: the file is read from top to bottom, and the command prints all of them
INTRODUCTION = """# Leaderboard

<!-- leaderboard:begin -->
<!-- leaderboard:end -->

`bench leaderboard` writes the part between the two markers from the run records in `{records}`; text outside them is kept.
"""
NO_RECORDS = """There are no complete records yet. A run makes one, and the leaderboard is then written from it:

```
bench run --method protonet --shots 1{option}
bench leaderboard{option}
```"""
HOW_TO_READ = (
    "Accuracies are means over episodes ± the half-width of their 95 % t interval, in percent. That interval is about the "
    "episodes that can be drawn from the test images, not about other images or another training.",
    "All tasks have 15 queries a class where their name says nothing else.",
    f"{CONTESTED}: reruns by others differ from the paper by more than both intervals.",
    "In the tables below, the small number is the rank in the column, over all backbones and settings; the best inductive "
    "method stands in the tables above. A rank is a range where paired t tests on the same episodes do not decide "
    "(Holm-adjusted over all pairs, 5 %). Bold are the best of a group and all that are not significantly worse; a group is a "
    "backbone with its training. A long group shows its first rows, its best in each column and those with a published number; "
    "the rest are counted, with their lowest and highest accuracy.",
    "trifeature: rendered shapes, textures and colours, a dataset that needs no download.",
    "`bench show RECORD` has what is not here: number of episodes, seconds, hashes, the interval without replacement. "
    "`bench leaderboard --format csv{option}` has the path of every record, `bench list published` all published numbers with "
    "their sources.",
)


@dataclass(frozen=True)
class Boards:
    """Boards and the published numbers beside each.

    Attributes:
        boards: with their published numbers, by dataset.
        partial: number of unfinished records, which are not shown.
        problems: records that were left out: the path, and one line that names the path and the damage.
    """

    boards: tuple[tuple[Board, Quotes], ...]
    partial: int = 0
    problems: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class LeaderboardUpdate:
    """The outcome of `update`.

    Attributes:
        stale: whether the file or a figure was out of date; without `check` it was rewritten.
        problems: as those of `Boards`.
    """

    stale: bool
    problems: tuple[tuple[Path, str], ...]


def load_boards(
    results: Path, include: Iterable[Path] = (), group_by: str = "backbone", datasets: Sequence[str] = ()
) -> Boards:
    """Make the boards of a results folder.

    Args:
        results: folder of `records`, and of the table of published numbers.
        include: more results folders, or folders of records.
        group_by: a key of `GROUPINGS`.
        datasets: names of datasets; none for all.

    Raises:
        UserError: a folder cannot be read, or the table of published numbers is damaged.
    """
    found: list[Found] = []
    problems: list[tuple[Path, str]] = []
    for folder in (results / "records", *(one / "records" if (one / "records").is_dir() else one for one in include)):
        records, damaged = load_records(folder)
        found += records
        problems += damaged
    boards = boards_of(found, GROUPINGS[group_by])
    made = zip(boards, quotes_of(boards, published_numbers(results)), strict=True)
    shown = tuple((board, quotes) for board, quotes in made if not datasets or board.dataset in datasets)
    return Boards(shown, sum(not record.complete for _, record in found), tuple(problems))


def update(file: Path, results: Path, include: Iterable[Path] = (), check: bool = False) -> LeaderboardUpdate:
    """Bring the leaderboard and its figures up to date.

    Figures go to the folder `figures` of the results. Their bytes depend on the version of matplotlib, so a check only asks
    whether they exist.

    Args:
        file: the leaderboard; if absent, it is made with a short introduction.
        results: folder of `records`.
        include: more results folders, or folders of records.
        check: write nothing, only compare.

    Raises:
        UserError: a folder or file cannot be read or written, or the leaderboard lacks a marker.
    """
    include = tuple(include)
    found = load_boards(results, include)
    figures = {board.title: results / "figures" / f"{file_safe(board.title)}.svg" for board, _ in found.boards}
    further = "".join(f" --include {shlex.quote(str(folder))}" for folder in include) if found.boards else ""
    lines = render(found, file, figures, results_option(results) + further)
    introduction = INTRODUCTION.format(records=results / "records")
    stale = update_page(file, {"leaderboard": Part(lambda _: lines)}, check, introduction)
    if check:
        stale |= not all(path.is_file() for path in figures.values())
    else:
        for board, quotes in found.boards:
            from .figures.boards import draw_board

            stale |= write_if_changed(figures[board.title], draw_board(board, quotes))
    return LeaderboardUpdate(stale, found.problems)


def render(found: Boards, file: Path, figures: Mapping[str, Path], option: str = "") -> list[str]:
    """The lines of the generated part.

    Args:
        found: the boards.
        file: the leaderboard, from which links count.
        figures: the figure of each board by its title.
        option: `--results` with another folder than the usual, and `--include`, as commands need them.
    """
    if not found.boards:
        lines = NO_RECORDS.format(option=option).split("\n")
    else:
        lines = ["## The best method of each dataset", "", OPENING, "", *summary_of(found.boards, file, file), ""]
        lines += [f"- {text.format(option=option)}" for text in HOW_TO_READ]
    for board, quotes in found.boards:
        lines += ["", f"## {escaped(board.title)}", ""]
        if board.title in figures:
            alt = f"Accuracy of the best methods on {board.title}, with their intervals; the table gives the same numbers."
            lines += [f"![{escaped(alt)}]({link_to(figures[board.title], file)})", ""]
        command = escaped(f"bench leaderboard --dataset {shlex.quote(board.dataset)}{option}")
        lines += markdown_of(board, quotes, Cut(MOST, f"`{command}`"))
    if found.partial:
        lines += ["", f"{found.partial} partial {'record is' if found.partial == 1 else 'records are'} not shown."]
    return lines
