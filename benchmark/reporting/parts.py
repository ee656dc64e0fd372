"""The generated parts of pages that `bench table` fills."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...core.errors import UsageError, did_you_mean
from ..config import RESULTS
from . import decodability, pivot, published_page
from .differences import differences_part
from .leaderboard import load_boards
from .pages import Part
from .stage_effects import effects_of
from .summary import summary_of

SUMMARIES = ("all", "published")


def parts(results: Path = RESULTS) -> dict[str, Part]:
    """The parts by the name in their markers, made from a results folder."""
    return {
        "table": Part(partial(pivot.pivot_of, results=results), pivot.FORM),
        "decodability": Part(partial(decodability.decodability_part, results=results), decodability.FORM),
        "differences": Part(partial(differences_part, results=results), pivot.FORM_OF_RECORDS),
        "effects": Part(partial(effects_of, results=results), pivot.FORM_OF_RECORDS),
        "published": Part(partial(published_page.published_part, results=results), published_page.FORM),
        "summary": Part(partial(summary_part, results=results), "|".join(SUMMARIES)),
    }


def summary_part(query: str, results: Path) -> list[str]:
    """The lines of the leaderboard's summary, for a page next to leaderboard.md in the current folder.

    Args:
        query: `all`, or `published` for the rows that a published number stands beside.
        results: results folder.

    Raises:
        UsageError: the query is another one.
        UserError: the records cannot be read.
    """
    if query not in SUMMARIES:
        raise UsageError(f"no summary '{query}'; {did_you_mean(query, SUMMARIES)}")
    return summary_of(load_boards(results).boards, Path("page.md"), Path("leaderboard.md"), only_published=query == "published")
