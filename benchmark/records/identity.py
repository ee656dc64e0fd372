"""Which runs are the same run, and which tasks the same task: the one place that says so.

A run is what answers (method and backbone) on what is asked (the task). Its file is named by a hash of that and of what the
record says about the result: how many episodes, and which intervals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...tasks.corruptions import Corruption
from .answerer import Backbone, Method
from .record import RunRecord
from .sections import Named

FIRST_VERSION = "version 1"
LONGEST_NAME = 60  # characters that a method, backbone or dataset gives to a file name


class TaskKey(NamedTuple):
    """Everything that decides what episode i is: records of equal keys can be compared episode by episode.

    Parameters are canonical JSON text, so that keys can be looked up in a dict.
    """

    dataset: str
    dataset_version: str
    dataset_parameters: str
    fingerprint: str
    split: str
    sampler: str
    sampler_parameters: str
    ways: int | None
    shots: int | None
    queries: int | None
    seed: int
    corruption: str | None = None  # name and severity, such as "noise 3"

    def differences(self, other: TaskKey) -> list[str]:
        """The differences in words, such as `shots 1 and 5`."""
        pairs = zip(self._fields, self, other, strict=True)
        return [f"{name.replace('_', ' ')} {mine} and {theirs}" for name, mine, theirs in pairs if mine != theirs]


def task_of(record: Named) -> TaskKey:
    """The task of a run."""
    task = record.task
    values = {name: getattr(task, name) for name in TaskKey._fields if name != "corruption"}
    texts = {name: canonical_json(values[name]) for name in ("dataset_parameters", "sampler_parameters")}
    return TaskKey(**{**values, **texts}, corruption=None if task.corruption is None else str(task.corruption))


def same_episodes(records: Iterable[RunRecord]) -> bool:
    """Whether records of one task and length drew the same rows; a sampler's code may have changed between them."""
    drawn = {(record.n_episodes, record.task.episodes_sha256) for record in records}
    return len(drawn) == len({n for n, _ in drawn})


def answerer_of(record: RunRecord) -> str:
    """Method and backbone with all that decides their answers, as canonical JSON; equal on all tasks."""
    method, backbone = record.method, record.backbone
    return canonical_json([_of_method(method), _of_backbone(backbone)])


def _of_method(method: Method) -> dict[str, Any]:
    text = None if method.text is None else vars(method.text)
    return {"name": method.name, "parameters": method.parameters, "learned_sha256": method.learned_sha256, "text": text}


def _of_backbone(backbone: Backbone) -> dict[str, Any]:
    names = ("name", "parameters", "weights_sha256", "tune", "precision", "compile")
    return {name: getattr(backbone, name) for name in names}


def other_code(noted: str | None, now: str) -> bool:
    """Whether the code has changed since a record.

    Args:
        noted: `code` of a section of the record; None in older records, which stand for version 1.
        now: today's code, as `code_versions.code_of` gives it.
    """
    if noted is None:
        return now.startswith("version ") and now.partition(",")[0] != FIRST_VERSION
    return noted != now


def without_repeats(records: Iterable[RunRecord]) -> list[RunRecord]:
    """One record of each run, the first by the hash of its configuration: another interval or level makes another record."""
    first: dict[tuple[TaskKey, str, bytes], RunRecord] = {}
    for record in sorted(records, key=lambda record: record.config_sha256):
        first.setdefault((task_of(record), answerer_of(record), record.accuracies.tobytes()), record)
    return list(first.values())


def canonical_json(content: Any) -> str:
    """JSON text that depends on the content alone: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def config_digest(config: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of a configuration's canonical JSON."""
    return hashlib.sha256(canonical_json(config).encode("utf-8")).hexdigest()


def file_safe(name: str) -> str:
    """A name as a part of a path: letters, digits and `._=+-` stay, everything else becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._=+]+", "-", name)[:LONGEST_NAME].strip(".-") or "unnamed"


def task_slug(
    split: str,
    sampler: str,
    ways: int | None,
    shots: int | None,
    queries: int | None,
    corruption: Corruption | None = None,
) -> str:
    """The readable folder name of a task, such as `test-5way-1shot-15query-uniform-noise-3`; what is None is left out."""
    shape = [f"{value}{word}" for value, word in ((ways, "way"), (shots, "shot"), (queries, "query")) if value is not None]
    ending = [] if corruption is None else [corruption.name, str(corruption.severity)]
    return "-".join([split, *shape, file_safe(sampler), *ending])


def record_path(results: Path, *, dataset: str, task_slug: str, method: str, backbone: str, config_sha256: str) -> Path:
    """The path of a configuration's record: `records/<dataset>/<task>/<method>-<backbone>-<hash8>.json`.

    Args:
        results: the results folder.
        dataset: the dataset's name.
        task_slug: as `task_slug` makes it.
        method: the method's name, of any of its forms (`protonet`, `path/to/file.py:Class`, `sklearn:…`).
        backbone: the backbone's name.
        config_sha256: `config_digest` of the configuration; tells apart what the names do not.
    """
    name = f"{file_safe(method)}-{file_safe(backbone)}-{config_sha256[:8]}.json"
    return results / "records" / file_safe(dataset) / file_safe(task_slug) / name


def place_of(record: RunRecord) -> Path:
    """The path within a results folder at which a run writes such a record."""
    task, corruption = record.task, record.task.corruption
    clean_or = None if corruption is None else Corruption(corruption.name, corruption.severity)
    return record_path(
        Path(),
        dataset=task.dataset,
        task_slug=task_slug(task.split, task.sampler, task.ways, task.shots, task.queries, clean_or),
        method=record.method.name,
        backbone=record.backbone.name,
        config_sha256=record.config_sha256,
    )
