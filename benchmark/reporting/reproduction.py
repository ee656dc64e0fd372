"""The page of all reproductions: a table and a list made from their files, the descriptions of weights and the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..pipeline.reproduction import Comparison, all_reproductions, compare
from .markdown import accuracy_cell, escaped, table_lines
from .pages import Part, update_page

NOT_RUN = "not run yet"
HEADERS = ("recipe", "task", "setting", "published (%)", "ours (%)", "difference", "episodes", "training", "verdict")
NUMERIC = (False, False, False, True, True, True, True, True, False)


def update(file: Path, results: Path, check: bool = False) -> bool:
    """Regenerate the page's table and list.

    Args:
        file: the page.
        results: folder of `checkpoints` and `records`.
        check: write nothing, only compare.

    Returns:
        Whether the page was out of date; without `check` it was rewritten.

    Raises:
        UserError: the page is absent or lacks a marker.
    """
    lines = render([compare(pipeline, results) for pipeline in all_reproductions()])
    return update_page(file, {"reproduction": Part(lambda _: lines)}, check)


def render(reproductions: Sequence[Sequence[Comparison]]) -> list[str]:
    """The lines of the generated part, from the comparisons of each reproduction (at least one)."""
    lines = table_lines(HEADERS, [row(one) for comparisons in reproductions for one in comparisons], NUMERIC)
    lines.append("")
    for comparisons in reproductions:
        pipeline = comparisons[0].pipeline
        assert pipeline.published is not None
        about = pipeline.published
        differs = f" Differs from the paper: {about.differs.rstrip('.')}." if about.differs else ""
        lines.append(f"- **{pipeline.name}**: {escaped(f'{about.summary}. Published: {about.source}.{differs}')}")
        lines.append(f"  Budget: {escaped(about.budget)}.")
    return lines


def row(one: Comparison) -> list[str]:
    """The cells of a comparison."""
    record = one.record
    cells = [one.pipeline.name, one.task]
    if record is None:
        return [*cells, "", published(one), "", "", "", cost(one), NOT_RUN]
    return [
        *cells,
        "transductive" if record.method.transductive else "inductive",
        published(one),
        accuracy_cell(record),
        difference(one),
        f"{record.n_episodes:,}",
        cost(one),
        one.verdict or "",
    ]


def published(one: Comparison) -> str:
    """The published number in percent, with its interval."""
    number, interval = one.run.target.published, one.run.target.interval
    if number is None:
        return ""
    # TOML gives 68.2 for 68.20: as many decimals as the more precise of the two has, and one at least.
    digits = max(1, *(len(f"{value:g}".partition(".")[2]) for value in (number, interval or 0)))
    return f"{number:.{digits}f}" + ("" if interval is None else f" ± {interval:.{digits}f}")


def difference(one: Comparison) -> str:
    """Ours minus published, with the combined interval, in percentage points."""
    if one.difference is None:
        return ""
    return f"{one.difference:+.2f}" + ("" if one.combined is None else f" ± {one.combined:.2f}")


def cost(one: Comparison) -> str:
    """Time, device and number of updates of the training."""
    if one.about is None:
        return ""
    trained = one.about.pretraining
    seconds, steps = trained.seconds or 0.0, trained.steps or 0
    time = f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
    return f"{time} on {one.about.made_by.device}, {steps:,} steps"
