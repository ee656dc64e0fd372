"""Which runs are the same run, and which tasks the same task: the one place that says so.

A run is what answers (method and backbone) on what is asked (the task). Its file is named by a hash of that and of what the
record says about the result: how many episodes, and which intervals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from ...core.decoding import encode
from ...tasks.conditions.conditions import Conditions
from ...tasks.corruptions import Corruption
from ..config import RunConfig
from .answerer import Backbone, Method, Text
from .record import RunRecord
from .sections import Named
from .task import Task

FIRST_VERSION = "version 1"
LONGEST_NAME = 60  # characters that a method, backbone or dataset gives to a file name


# What decides an answer, of the sections of a record.
OF_METHOD = ("name", "parameters", "learned_sha256", "text", "features")
DEPARTURES = ("corruption", "conditions")  # sections of a task that the usual one does not have
OF_BACKBONE = ("name", "parameters", "weights_sha256", "tune", "precision", "compile", "views")


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
    conditions: str | None = None  # in words, such as "query balance 2"

    def differences(self, other: TaskKey) -> list[str]:
        """The differences in words, such as `shots 1 and 5`."""
        pairs = zip(self._fields, self, other, strict=True)
        return [f"{name.replace('_', ' ')} {mine} and {theirs}" for name, mine, theirs in pairs if mine != theirs]


def task_of(record: Named) -> TaskKey:
    """The task of a run."""
    return key_of(record.task)


def key_of(task: Task) -> TaskKey:
    """What decides the episodes of a task."""
    values = {name: getattr(task, name) for name in TaskKey._fields if name not in DEPARTURES}
    texts = {name: canonical_json(values[name]) for name in ("dataset_parameters", "sampler_parameters")}
    departures = {name: None if (one := getattr(task, name)) is None else str(one) for name in DEPARTURES}
    return TaskKey(**{**values, **texts, **departures})


def same_episodes(records: Iterable[RunRecord]) -> bool:
    """Whether records of one task and length drew the same rows; a sampler's code may have changed between them."""
    drawn = {(record.n_episodes, record.task.episodes_sha256) for record in records}
    return len(drawn) == len({n for n, _ in drawn})


def answerer_of(record: Named, but: Collection[str] = ()) -> str:
    """Method and backbone with all that decides their answers, as canonical JSON; equal on all tasks.

    Args:
        record: the run.
        but: what may differ, such as `backbone.tune`.
    """
    return canonical_json({name: value for name, value in parts_of(record).items() if name not in but})


def parts_of(record: Named) -> dict[str, object]:
    """All that decides the answers of method and backbone, by the name of the part: `method.parameters`, `backbone.tune`."""
    method, backbone = record.method, record.backbone
    of_method = {f"method.{name}": encode(getattr(method, name)) for name in OF_METHOD if name != "text"}
    of_text = {f"method.text.{one.name}": getattr(method.text, one.name, None) for one in fields(Text)}
    return {**of_method, **of_text, **{f"backbone.{name}": encode(getattr(backbone, name)) for name in OF_BACKBONE}}


def asks_for(config: RunConfig, dataset: str, varies: bool, task: TaskKey) -> bool:
    """Whether a config asks for a task, as far as it says: all but the version of the data and parameters.

    Args:
        config: the request.
        dataset: registered name of its dataset.
        varies: whether ways, shots and queries vary from episode to episode.
        task: of a run that was done.
    """
    said = {name: getattr(config, name) for name in TaskKey._fields if hasattr(config, name)}
    departures = {"corruption": config.corrupted_by, "conditions": config.conditions}
    said |= {"dataset": dataset, **{name: None if one is None else str(one) for name, one in departures.items()}}
    said |= dict.fromkeys(("ways", "shots", "queries")) if varies else {}
    return all(getattr(task, name) == value for name, value in said.items())


def configuration(
    method: Method, backbone: Backbone, task: Task, *, learns: bool, initial: bool, episodes: int, level: float, bootstrap: bool
) -> dict[str, object]:
    """Everything that a configuration says about the result; its hash names the record.

    Precision, compilation, views, corruption and conditions are in it where they are not the defaults: older records, which do
    not say, keep their names. So is what no plan knows before it opens the images: fingerprint and clean images are not in it.

    Args:
        method: as its record has it.
        backbone: as its record has it.
        task: as its record has it, with or without what only the images say.
        learns: whether the method learned something beside the backbone, or could have.
        initial: whether nothing has changed the weights; how images are made ready is then not said by them.
        episodes: number of episodes that are wanted.
        level: confidence level of the intervals.
        bootstrap: whether there is a bootstrap interval.
    """
    usual = {one.name: one.default for one in fields(Backbone)}
    of_method = {name: encode(getattr(method, name)) for name in OF_METHOD}
    of_backbone = {name: value for name in OF_BACKBONE if (value := getattr(backbone, name)) != usual[name]}
    of_task = {name: getattr(task, name) for name in TaskKey._fields if name not in ("fingerprint", *DEPARTURES)}
    for name in ("text", "features"):
        if of_method[name] is None:
            del of_method[name]
    if not learns:
        del of_method["learned_sha256"]
    if initial:
        of_backbone["preprocess"] = encode(backbone.preprocess)
    if (corruption := task.corruption) is not None:
        of_task["corruption"] = {name: getattr(corruption, name) for name in ("name", "severity", "version")}
    if task.conditions is not None:
        of_task["conditions"] = encode(task.conditions)
    return {
        "method": of_method,
        "backbone": of_backbone,
        "task": of_task,
        "episodes": episodes,
        "level": level,
        "bootstrap": bootstrap,
    }


def other_code(noted: str | None, now: str | None) -> bool:
    """Whether the code has changed since a record.

    Args:
        noted: `code` of a section of the record; None in older records, which stand for version 1.
        now: today's code, as `code_versions.code_of` gives it.
    """
    if noted is None or now is None:
        return now is not None and now.startswith("version ") and now.partition(",")[0] != FIRST_VERSION
    return noted != now


def without_repeats(records: Iterable[RunRecord]) -> list[RunRecord]:
    """One record of each run, the first by the hash of its configuration: another interval or level makes another record."""
    first: dict[tuple[TaskKey, str, bytes], RunRecord] = {}
    for record in sorted(records, key=lambda record: record.config_sha256):
        first.setdefault((task_of(record), answerer_of(record), record.accuracies.tobytes()), record)
    return list(first.values())


def canonical_json(content: object) -> str:
    """JSON text that depends on the content alone: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def config_digest(config: Mapping[str, object]) -> str:
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
    conditions: Conditions | None = None,
) -> str:
    """The readable folder name of a task, such as `test-5way-1shot-15query-uniform-noise-3`; what is None is left out."""
    shape = [f"{value}{word}" for value, word in ((ways, "way"), (shots, "shot"), (queries, "query")) if value is not None]
    ending = [] if corruption is None else [corruption.name, str(corruption.severity)]
    ending += [] if conditions is None else [file_safe(str(conditions))]
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
        task_slug=task_slug(task.split, task.sampler, task.ways, task.shots, task.queries, clean_or, task.conditions),
        method=record.method.name,
        backbone=record.backbone.name,
        config_sha256=record.config_sha256,
    )
