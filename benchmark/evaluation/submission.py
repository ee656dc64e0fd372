"""Records that somebody sends: what can be checked of each before it stands on the board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError, one_line
from ...core.progress import Progress
from ..records.identity import place_of
from ..records.predictions import load_predictions
from ..records.record import RunRecord
from ..records.store import load_records
from .rerun import Rerun, Where, rerun


@dataclass(frozen=True)
class Checked:
    """What was found of one file.

    Attributes:
        path: the file.
        problems: why the record cannot be taken; empty where nothing was found.
        notes: what a reviewer should know.
        again: the first episodes, repeated; None where that was not possible, and a note says why.
    """

    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    again: Rerun | None = None


def check_submission(folder: Path, episodes: int, where: Where, progress: Progress) -> list[Checked]:
    """Check every record below a folder.

    A record must be sound (its numbers follow from its episodes), complete, within the folder, and at the path that its
    configuration decides. Its first episodes are drawn and answered again where its weights are to be had.

    Args:
        folder: a results folder, or its folder of records.
        episodes: number of episodes that are answered again.
        where: files of the records.
        progress: told of long work.

    Raises:
        UserError: the folder is absent, or has no record.
    """
    records = folder / "records" if (folder / "records").is_dir() else folder
    sound, damaged = load_records(records)
    if not sound and not damaged:
        raise UserError(f"{folder} has no record")
    found = [Checked(path, (problem,)) for path, problem in damaged]
    for path, record in sound:
        problems = _problems(path, record, records)
        if problems:
            found.append(Checked(path, problems))
            continue
        try:
            again = rerun(record, where, progress, episodes)
        except UserError as error:
            found.append(Checked(path, (), (*_notes(record), f"not run again: {one_line(str(error))}")))
        else:
            wrong = ("its episodes do not come out again",) if again.verdict == "different" else ()
            found.append(Checked(path, wrong, _notes(record), again))
    return sorted(found, key=lambda one: one.path)


def _problems(path: Path, record: RunRecord, records: Path) -> tuple[str, ...]:
    problems = []
    if not path.resolve().is_relative_to(records.resolve()):
        problems.append("it is a link that leaves the folder")
    if not record.complete:
        problems.append(f"it is partial ({record.n_episodes} episodes)")
    if (expected := place_of(record).relative_to("records")) != path.relative_to(records):
        problems.append(f"it belongs at {expected.as_posix()}")
    if record.predictions is not None:
        try:
            load_predictions(path, record)
        except UserError as error:
            problems.append(one_line(str(error)))
    return tuple(problems)


def _notes(record: RunRecord) -> tuple[str, ...]:
    if record.fewbench.git_dirty:
        return ("it was made with uncommitted changes of the code",)
    return ()
