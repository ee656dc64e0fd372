"""`bench rerun`: repeat records from their own contents, and say whether they come out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UserError, one_line
from ...config import RESULTS
from ..parts.folders import Results, in_results
from ..parts.lines import say
from ..parts.where import ClassNames, Method, Prompts, Testbed, Weights, where

if TYPE_CHECKING:
    from ...evaluation.rerun import Rerun
    from ...records.record import RunRecord

WORDS = {"same": "the same, bit for bit", "rounding": "the same within rounding", "different": "DIFFERENT"}


def rerun(
    records: Annotated[list[Path], typer.Argument(help="Record files or folders of them, or their paths in --results.")],
    weights: Weights = None,
    method: Method = None,
    testbed: Testbed = None,
    prompts: Prompts = None,
    class_names: ClassNames = None,
    episodes: Annotated[int | None, typer.Option(help="Repeat only so many of the first episodes.", min=1)] = None,
    longest: Annotated[float | None, typer.Option(help="Leave out records whose run took more seconds.", min=0)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda (or cuda:1, …).")] = "auto",
    results: Results = RESULTS,
) -> None:
    """Repeat runs from what their records say, and compare every episode. No record is written.

    The exit code is 1 if a record does not come out again, or cannot be repeated.

    Example: bench rerun results/records/trifeature --longest 60
    """
    from ...evaluation.rerun import rerun
    from ..parts.terminal import TerminalProgress

    files = where(results, weights=weights, method=method, testbed=testbed, prompts=prompts, class_names=class_names)
    loaded = _loaded([in_results(path, results, "records") for path in records])
    chosen = [(path, record) for path, record in loaded if longest is None or record.timing.total_seconds <= longest]
    progress, verdicts = TerminalProgress(), list[str]()
    for path, record in chosen:
        try:
            found = rerun(record, files, progress, episodes, device)
        except UserError as error:
            say(f"cannot be repeated: {path}: {one_line(str(error))}")
            verdicts.append("cannot")
        else:
            verdicts.append(found.verdict)
            _report(path, found)
    left = f"; {len(loaded) - len(chosen)} took longer and were left out" if len(chosen) < len(loaded) else ""
    counts = [f"{verdicts.count(verdict)} {words}" for verdict, words in WORDS.items() if verdict in verdicts]
    counts += [f"{verdicts.count('cannot')} cannot be repeated"] if "cannot" in verdicts else []
    say(f"of {len(chosen)} records: {', '.join(counts) or 'none'}{left}")
    if {"different", "cannot"} & {*verdicts}:
        raise typer.Exit(1)


def _loaded(paths: list[Path]) -> list[tuple[Path, RunRecord]]:
    """The records of files and folders.

    Raises:
        UserError: a file is no record, or a folder has none.
    """
    from ...records.store import load_record, load_records

    found: list[tuple[Path, RunRecord]] = []
    for path in paths:
        if not path.is_dir():
            found.append((path, load_record(path)))
            continue
        sound, damaged = load_records(path)
        if damaged:
            raise UserError(damaged[0][1])
        if not sound:
            raise UserError(f"{path} has no record")
        found += sound
    return found


def _report(path: Path, found: Rerun) -> None:
    """Print one line, and one more with what of the surroundings differs where the result does."""
    accuracy = f"{100 * found.again.mean:.2f} %"
    if found.verdict == "same":
        say(f"{WORDS['same']}: {path} ({found.episodes} episodes, {accuracy})")
        return
    say(
        f"{WORDS[found.verdict]}: {path} ({found.differing} of {found.episodes} episodes differ, the mean by "
        f"{100 * found.shift:+.4f} points, now {accuracy})"
    )
    if found.surroundings:
        say(f"  differs from the record: {'; '.join(found.surroundings)}")
