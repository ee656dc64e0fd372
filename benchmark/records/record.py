"""Run records: what one run did and found, as one JSON file at a path that its configuration determines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file, write_atomically
from ...tasks.corruptions import Corruption
from . import schema as record_schema
from .codec import decode, decode_rough, encode
from .statistics import bootstrap_interval, t_interval

STATUSES = ("complete", "partial")
LONGEST_NAME = 60  # characters that a method, backbone or dataset gives to a file name
MEAN_TOLERANCE = 1e-9  # sums in another order differ by less


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


@dataclass(frozen=True)
class RunRecord:
    """One run. The attributes are the sections of the JSON file; `record_schema.SHAPE` says what each must hold.

    Accuracies are fractions. A record that does not hold together cannot be made.

    Attributes:
        status: "complete" or "partial" (interrupted, to be resumed).
        method: name, version, parameters, hash of the source, what it declares, distribution.
        backbone: name, parameters, weights, pretraining data, what is tuned, feature width.
        task: dataset, split, sampler, shape of the episodes, seed, hash of the drawn rows.
        n_episodes: number of episodes, at least 1.
        accuracy: mean, interval and the encoded per-episode accuracies, as `accuracy_section` makes it.
        timing: seconds, and when the run started.
        environment: versions and hardware.
        fewbench: version and commit of this package.
        argv: the command line.
        config_sha256: `config_digest` of the configuration.

    Raises:
        ValueError: a key is missing or of the wrong type, or the accuracies do not decode, are not n or not of that mean;
            likewise the coarsities.
    """

    status: str
    method: dict[str, Any]
    backbone: dict[str, Any]
    task: dict[str, Any]
    n_episodes: int
    accuracy: dict[str, Any]
    timing: dict[str, Any]
    environment: dict[str, Any]
    fewbench: dict[str, Any]
    argv: list[str]
    config_sha256: str

    def __post_init__(self) -> None:
        """Check that the record holds together."""
        problem = record_schema.problem(vars(self))
        if problem:
            raise ValueError(problem)
        if self.status not in STATUSES:
            raise ValueError(f"status is '{self.status}', not one of {', '.join(STATUSES)}")
        if len(self.accuracies) != self.n_episodes or not self.n_episodes:
            raise ValueError(f"it has {len(self.accuracies)} per-episode accuracies for {self.n_episodes} episodes")
        if not ((self.accuracies >= 0) & (self.accuracies <= 1)).all():
            raise ValueError("an accuracy is not a fraction from 0 to 1")
        if self.coarsities is not None and (len(self.coarsities) != self.n_episodes or not np.isfinite(self.coarsities).all()):
            raise ValueError(f"it does not have a finite coarsity for each of its {self.n_episodes} episodes")
        if not abs(self.mean - self.accuracies.mean()) <= MEAN_TOLERANCE:
            raise ValueError(f"its mean {self.mean} is not that of its per-episode accuracies, {self.accuracies.mean()}")

    @cached_property
    def accuracies(self) -> np.ndarray:
        """float64 [n_episodes], the accuracy of each episode in order; read-only."""
        accuracies = decode(self.accuracy["per_episode"])
        accuracies.flags.writeable = False
        return accuracies

    @cached_property
    def coarsities(self) -> np.ndarray | None:
        """float64 [n_episodes], how far apart the classes of each episode are; None where the task has no coarsity."""
        section = self.task.get("coarsity")  # records older than coarsity lack the key
        if section is None:
            return None
        if not isinstance(section, dict) or "per_episode" not in section:
            raise ValueError("task.coarsity is not a section with per_episode")
        return decode_rough(section["per_episode"])

    @property
    def complete(self) -> bool:
        """Whether the run finished."""
        return self.status == "complete"

    @property
    def mean(self) -> float:
        """Mean accuracy, a fraction."""
        return self.accuracy["mean"]

    @property
    def half_width(self) -> float | None:
        """Half-width of the interval, a fraction; None for a single episode."""
        return self.accuracy["half_width"]

    @property
    def method_name(self) -> str:
        """The method's name."""
        return self.method["name"]

    @property
    def backbone_name(self) -> str:
        """The backbone's name."""
        return self.backbone["name"]

    def task_key(self) -> TaskKey:
        """What decides the episodes."""
        values = {name: self.task[name] for name in TaskKey._fields if name != "corruption"}
        corruption = self.task.get("corruption")
        words = None if corruption is None else f"{corruption['name']} {corruption['severity']}"
        texts = {name: canonical_json(values[name]) for name in ("dataset_parameters", "sampler_parameters")}
        return TaskKey(**{**values, **texts}, corruption=words)

    def to_json(self) -> str:
        """The file's text: sorted keys, indented by one, newline at the end."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content["schema_version"] = record_schema.SCHEMA_VERSION
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> RunRecord:
        """Read a record of this or an older schema version.

        Args:
            text: the file's content.
            path: where it came from, for messages.

        Raises:
            UserError: the record is damaged, or written by a newer fewbench.
        """
        try:
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError("it is not a JSON object")
            version = content.get("schema_version")
            if isinstance(version, int) and version > record_schema.SCHEMA_VERSION:
                raise UserError(f"{path} is of schema version {version}, newer than this fewbench knows; upgrade fewbench")
            content = record_schema.migrate(content)
            del content["schema_version"]
            names = [field.name for field in fields(cls)]
            for name in [*names, *content]:
                if name not in content or name not in names:
                    raise ValueError(f"{name} is {'unknown' if name in content else 'missing'}")
            return cls(**content)
        except ValueError as error:
            raise UserError(f"{path} is a damaged record: {error}; remove it and repeat the run") from error


def accuracy_section(
    accuracies: np.ndarray,
    level: float = 0.95,
    bootstrap_seed: int | None = None,
    resamples: int = 10_000,
    without_replacement: np.ndarray | None = None,
) -> dict[str, Any]:
    """Make the section `accuracy` of a record.

    Args:
        accuracies: float [n], one fraction an episode.
        level: confidence level of the intervals.
        bootstrap_seed: adds a percentile bootstrap interval drawn with this seed.
        resamples: resampled means of the bootstrap.
        without_replacement: float [m], accuracies on episodes in which no image is used twice; adds their interval.
    """
    interval = t_interval(accuracies, level)
    bootstrap = disjoint = None
    if bootstrap_seed is not None:
        drawn = bootstrap_interval(accuracies, level, bootstrap_seed, resamples)
        bootstrap = {"low": drawn.low, "high": drawn.high, "resamples": resamples}
    if without_replacement is not None:
        apart = t_interval(without_replacement, level)
        encoded = encode(without_replacement)
        disjoint = {"mean": apart.mean, "half_width": apart.half_width, "episodes": apart.n, "accuracies": encoded}
    return {
        "mean": interval.mean,
        "half_width": interval.half_width,
        "level": level,
        "interval": interval.method,
        "bootstrap": bootstrap,
        "without_replacement": disjoint,
        "per_episode": encode(accuracies),
    }


def load_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        UserError: the file cannot be read, is damaged, or was written by a newer fewbench.
    """
    with os_errors_named("cannot read record"):
        content = regular_file(path).read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is a damaged record: it is not UTF-8 text; remove it and repeat the run") from error
    return RunRecord.from_json(text, path)


def write_record(record: RunRecord, path: Path) -> None:
    """Write a record so that a reader sees all of it or none.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    write_atomically(path, record.to_json().encode("utf-8"))


def load_records(folder: Path) -> tuple[list[tuple[Path, RunRecord]], list[tuple[Path, str]]]:
    """Read every `*.json` below a folder, in the order of their paths within it.

    Returns:
        The sound records with their paths, and the paths of the others, each with one line that names it and says what is
        wrong. A folder that is not there has neither.
    """
    records, problems = [], []
    for path in sorted(folder.rglob("*.json"), key=lambda path: path.relative_to(folder).as_posix()):
        try:
            records.append((path, load_record(path)))
        except UserError as error:
            problems.append((path, str(error)))
    return records, problems


def canonical_json(content: Any) -> str:
    """JSON text that depends on nothing but the content: sorted keys, no spaces."""
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
    """Where the record of a configuration lives: `records/<dataset>/<task>/<method>-<backbone>-<hash8>.json`.

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
