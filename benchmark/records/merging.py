"""Records of several machines, brought together in one results folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError, listed
from .codec import plain
from .predictions import copy_predictions
from .record import RunRecord
from .store import load_record, load_records, write_record

# Sections that differ from run to run of one configuration.
OF_THE_MACHINE = ("timing", "environment", "fewbench", "argv", "predictions")


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge.

    Attributes:
        added: files that the results folder has now and lacked.
        known: number of records that it had already, or that have a finished record in place of a partial one.
        problems: one line for each file that was left out.
    """

    added: tuple[Path, ...]
    known: int
    problems: tuple[str, ...]


def merge(folders: Iterable[Path], results: Path) -> Merged:
    """Copy every record of some folders to its place in a results folder.

    Records of one place that differ in nothing but time, machine and command line are one: the first stays. Of partial records
    the longest stays, and none where the run is finished.

    Args:
        folders: results folders, or their folders of records.
        results: the results folder.

    Returns:
        The files that were added, and one line for each file that is damaged or contradicts the record at its place.

    Raises:
        UserError: a folder is absent, or the results folder cannot be written.
    """
    sources = [folder / "records" if (folder / "records").is_dir() else folder for folder in folders]
    found = [(folder, *load_records(folder)) for folder in sources]
    added, known = {}, 0
    problems = [problem for _, _, damaged in found for _, problem in damaged]
    records = [(path, path.relative_to(folder), record) for folder, sound, _ in found for path, record in sound]
    for path, place, record in sorted(records, key=lambda one: not one[2].complete):  # what is finished comes first
        target = results / "records" / place
        try:
            problem = _problem(record, path, target)
            taken = problem is None and _taken(record, target)
            if taken:
                copy_predictions(record, path, target)
        except UserError as error:
            problem, taken = str(error), False
        if problem is not None:
            problems.append(problem)
        elif taken:
            write_record(record, target)
            added[target] = None
        else:
            known += 1
    return Merged(tuple(added), known, tuple(problems))


def _problem(record: RunRecord, path: Path, target: Path) -> str | None:
    """Why a record contradicts the one at its place; None where it does not."""
    if not target.exists():
        return None
    there = load_record(target)
    if record.complete and there.complete:
        parts = differing(record, there)
        return f"{path} and {target} differ in {listed(parts)}" if parts else None
    n = min(record.n_episodes, there.n_episodes)
    same = record.config_sha256 == there.config_sha256 and np.array_equal(record.accuracies[:n], there.accuracies[:n])
    return None if same else f"{path} and {target} differ in their first {n} episodes"


def _taken(record: RunRecord, target: Path) -> bool:
    """Whether a record that contradicts nothing says more than what is there."""
    if not record.complete and target.name.endswith(".partial.json"):
        finished = target.with_name(target.name.removesuffix(".partial.json") + ".json")
        if finished.exists():
            return False
    if not target.exists():
        return True
    there = load_record(target)
    return not there.complete and (record.complete or record.n_episodes > there.n_episodes)


def differing(one: RunRecord, other: RunRecord) -> list[str]:
    """The names of what differs between two records, such as `method.code`; time, machine and command line do not count."""
    contents = [
        _flat({key: value for key, value in record.content.items() if key not in OF_THE_MACHINE}) for record in (one, other)
    ]
    return sorted(key for key in contents[0].keys() | contents[1].keys() if contents[0].get(key) != contents[1].get(key))


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """The values of nested JSON objects by their path; what is compressed is unpacked, since builds of zlib differ."""
    found: dict[str, object] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and "encoding" not in value:
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = plain(value) if isinstance(value, Mapping) else value
    return found
