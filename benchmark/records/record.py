"""Run records: what one run did and found, typed, and checked against the accuracies of its episodes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...core.decoding import decode as decode_content
from ...core.options import shown
from ...tasks.corruptions import SEVERITIES
from ...tasks.testbed import coarsity_summary
from .answerer import ALL
from .codec import decode, decode_rough, encode
from .schema import SCHEMA_VERSION
from .sections import Accuracy, Bootstrap, Sections, WithoutReplacement
from .statistics import Interval, bootstrap_interval, t_interval

SECONDS = ("encode_seconds", "classify_seconds", "total_seconds", "disjoint_seconds")
TOLERANCE = 1e-9  # sums in another order differ by less
ROUGH_TOLERANCE = 1e-5  # of what is kept as float32, relative
LONGEST_NAME = 500  # characters of a name: a path and a class
MOST = 10**9  # ways, shots, queries, episodes, images, seconds: more than any run has
PLAUSIBLE = 2.0  # half-widths of the t interval that an end of the bootstrap interval may lie from the mean


@dataclass(frozen=True, eq=False)
class RunRecord(Sections):
    """One run: the sections of its file, and everything else in the file. Records of equal content are equal.

    Attributes:
        content: the JSON content, including keys that no section knows.
    """

    content: Mapping[str, Any] = field(repr=False, kw_only=True)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> RunRecord:
        """Make a record from its content, and check every derived number.

        Args:
            content: the JSON content of this schema version, without its `schema_version`.

        Raises:
            ValueError: something is absent, of another type or out of range, or a number contradicts the accuracies.
        """
        unknown = content.keys() - Sections.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"{min(unknown)} is unknown")
        record = cls(**vars(decode_content(Sections, content)), content=content)
        _check_ranges(record)
        _check_accuracies(record)
        return record

    def __eq__(self, other: object) -> bool:
        """Whether the content is the same."""
        return isinstance(other, RunRecord) and self.content == other.content

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @cached_property
    def accuracies(self) -> np.ndarray:
        """float64 [n_episodes], the accuracy of each episode in order; read-only."""
        accuracies = decode(self.accuracy.per_episode, self.n_episodes)
        accuracies.flags.writeable = False
        return accuracies

    @cached_property
    def coarsities(self) -> np.ndarray | None:
        """float64 [n_episodes], how far apart the classes of each episode are; None where the task has no coarsity."""
        coarsity = self.task.coarsity
        return None if coarsity is None else decode_rough(coarsity.per_episode, self.n_episodes)

    @property
    def complete(self) -> bool:
        """Whether the run finished."""
        return self.status == "complete"

    @property
    def mean(self) -> float:
        """Mean accuracy, a fraction."""
        return self.accuracy.mean

    @property
    def half_width(self) -> float | None:
        """Half-width of the interval, a fraction; None for a single episode."""
        return self.accuracy.half_width

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return self.accuracy.level

    def to_json(self, indent: int | None = 1) -> str:
        """The file's text: sorted keys, newline at the end."""
        content = {**self.content, "schema_version": SCHEMA_VERSION}
        return json.dumps(content, sort_keys=True, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def accuracy_section(
    accuracies: np.ndarray,
    level: float = 0.95,
    bootstrap_seed: int | None = None,
    resamples: int = 10_000,
    without_replacement: np.ndarray | None = None,
) -> Accuracy:
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
        bootstrap = Bootstrap(drawn.low, drawn.high, resamples)
    if without_replacement is not None:
        apart = t_interval(without_replacement, level)
        disjoint = WithoutReplacement(apart.mean, apart.half_width, apart.n, encode(without_replacement))
    return Accuracy(interval.mean, interval.half_width, level, "t", encode(accuracies), bootstrap, disjoint)


def _check_ranges(record: RunRecord) -> None:
    """Check that every number is possible.

    Raises:
        ValueError: one is not; the message names it.
    """
    task, timing, encoding = record.task, record.timing, record.timing.encoding
    least_one = {f"task.{name}": getattr(task, name) for name in ("ways", "shots", "queries")}
    least_one |= {"n_episodes": record.n_episodes, "backbone.feature_dim": record.backbone.feature_dim}
    least_none = {f"timing.{name}": getattr(timing, name) for name in SECONDS}
    least_none |= {"backbone.network_parameters": record.backbone.network_parameters}
    hashes = {"config_sha256": record.config_sha256}
    if record.predictions is not None:
        least_one |= {"predictions.answers": record.predictions.answers}
        hashes |= {"predictions.sha256": record.predictions.sha256}
    if encoding is not None:
        least_none |= {"timing.encoding.images": encoding.images, "timing.encoding.seconds": encoding.seconds}
    for least, numbers in ((1, least_one), (0, least_none)):
        for name, number in numbers.items():
            if number is not None and not least <= number <= MOST:
                raise ValueError(f"{name} is {shown(number)}, not from {least} to {MOST}")
    for name, text in hashes.items():
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise ValueError(f"{name} is '{shown(text)}', not 64 hexadecimal digits")
    if not task.fingerprint:
        raise ValueError("task.fingerprint is blank")
    if not 0 <= task.seed < 2**64:
        raise ValueError("task.seed is not from 0 to 2^64 - 1")
    if task.corruption is not None and task.corruption.severity not in SEVERITIES:
        raise ValueError(f"task.corruption.severity is not one of {', '.join(map(str, SEVERITIES))}")
    if not 0 < record.accuracy.level < 1:
        raise ValueError(f"accuracy.level is {record.accuracy.level:g}, not between 0 and 1")
    for name, text in (("method", record.method.name), ("backbone", record.backbone.name), ("task", task.dataset)):
        if not text.strip() or len(text) > LONGEST_NAME:
            raise ValueError(
                f"{name}.{'dataset' if name == 'task' else 'name'} is {'blank' if not text.strip() else 'too long'}"
            )
    for name, section in (("method", record.method), ("backbone", record.backbone)):
        for changed in () if section.changed is ALL else section.changed:
            if changed not in section.parameters:
                raise ValueError(f"{name}.changed names '{changed}', which is no parameter")


def _check_accuracies(record: RunRecord) -> None:
    """Compare everything that is derived from the episodes with their accuracies.

    Raises:
        ValueError: the accuracies do not decode, are not fractions or too many or few, or a derived number contradicts them.
    """
    accuracy, level = record.accuracy, record.accuracy.level
    interval = _checked_interval("", record.accuracies, accuracy, level)
    if (apart := accuracy.without_replacement) is not None:
        if not 1 <= apart.episodes <= MOST:
            raise ValueError(f"accuracy.without_replacement.episodes is {shown(apart.episodes)}")
        _checked_interval("without_replacement.", decode(apart.accuracies, apart.episodes), apart, level)
    if (bootstrap := accuracy.bootstrap) is not None:
        _check_bootstrap(bootstrap, record.accuracies, interval)
    coarsity, coarsities = record.task.coarsity, record.coarsities
    if coarsity is not None and coarsities is not None:
        if not np.isfinite(coarsities).all():
            raise ValueError("a coarsity is not finite")
        expected = coarsity_summary(coarsities)
        for name, said in (("mean", coarsity.mean), ("quartiles", coarsity.quartiles)):
            if not np.allclose(said, expected[name], rtol=ROUGH_TOLERANCE, atol=ROUGH_TOLERANCE):
                raise ValueError(f"task.coarsity.{name} is not that of its per-episode coarsities")


def _checked_interval(place: str, accuracies: np.ndarray, said: Accuracy | WithoutReplacement, level: float) -> Interval:
    if not ((accuracies >= 0) & (accuracies <= 1)).all():
        raise ValueError(f"an accuracy of accuracy.{place}per_episode is not a fraction from 0 to 1")
    interval = t_interval(accuracies, level)
    for name in ("mean", "half_width"):
        found, expected = getattr(said, name), getattr(interval, name)
        if (found is None) != (expected is None) or (found is not None and not abs(found - expected) <= TOLERANCE):
            raise ValueError(f"accuracy.{place}{name} is {found}, and {expected} by its per-episode accuracies")
    return interval


def _check_bootstrap(bootstrap: Bootstrap, accuracies: np.ndarray, interval: Interval) -> None:
    """Check that the ends are plausible; repeating the draws would take longer than reading all else."""
    ends = (bootstrap.low, bootstrap.high)
    if not 1 <= bootstrap.resamples <= MOST:
        raise ValueError(f"accuracy.bootstrap.resamples is {shown(bootstrap.resamples)}")
    if interval.half_width is None or None in ends:
        if ends != (None, None) or interval.half_width is not None:
            raise ValueError("accuracy.bootstrap has an end too many or too few")
        return
    low, high = (float(end) for end in ends if end is not None)
    far = PLAUSIBLE * max(interval.half_width, t_interval(accuracies, 0.95).half_width or 0.0) + TOLERANCE
    inside = accuracies.min() - TOLERANCE <= low <= high <= accuracies.max() + TOLERANCE
    if not inside or max(abs(low - interval.mean), abs(high - interval.mean)) > far:
        raise ValueError(f"accuracy.bootstrap from {low} to {high} is not of its per-episode accuracies")
