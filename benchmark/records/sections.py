"""The sections of a run record, typed. Fields with a default are younger than the first records, which lack them.

A section may hold further keys, of later versions or of plug-ins: they stay in the record's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .answerer import Backbone, Method
from .codec import Coded
from .task import Task


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap interval of the mean; its ends are None for a single episode."""

    low: float | None
    high: float | None
    resamples: int


@dataclass(frozen=True)
class WithoutReplacement:
    """Accuracy on episodes that share no image, with the half-width of its interval (None for a single episode)."""

    mean: float
    half_width: float | None
    episodes: int
    accuracies: Coded


@dataclass(frozen=True)
class Accuracy:
    """The result; accuracies are fractions.

    Attributes:
        mean: over the episodes.
        half_width: of the interval of the mean; None for a single episode.
        level: confidence level of all intervals.
        interval: method of the interval.
        per_episode: accuracy of each episode.
        bootstrap: another interval of the mean, where it was asked for.
        without_replacement: accuracy on episodes that share no image, where there are such.
    """

    mean: float
    half_width: float | None
    level: float
    interval: Literal["t"]
    per_episode: Coded
    bootstrap: Bootstrap | None
    without_replacement: WithoutReplacement | None


@dataclass(frozen=True)
class Encoded:
    """The encoding of the features, in this run or an earlier one.

    Attributes:
        images: number of images.
        seconds: that they took.
        device: type of the device.
        device_name: as its maker calls it.
        precision: of the encoding.
        runtime: name and version of the library that computed the network; None where nobody noted it.
    """

    images: int
    seconds: float
    device: str
    device_name: str | None
    precision: str
    runtime: str | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds of a run.

    Attributes:
        encode_seconds: of encoding, 0 where the features were there.
        classify_seconds: of the method.
        total_seconds: of everything.
        started_utc: when the run began.
        disjoint_seconds: of the method on episodes that share no image.
        encoding: the encoding of the features; None for a method that works on images.
    """

    encode_seconds: float
    classify_seconds: float
    total_seconds: float
    started_utc: str
    disjoint_seconds: float = 0.0
    encoding: Encoded | None = None


@dataclass(frozen=True)
class Kept:
    """The file with the answers to all queries, which is beside the record.

    Attributes:
        sha256: of the file.
        answers: number of answers.
        confidence: whether a confidence is the highest `score`, since the scores are probabilities, or that of their `softmax`.
    """

    sha256: str
    answers: int
    confidence: Literal["score", "softmax"]


@dataclass(frozen=True)
class Code:
    """Version of this package, and commit and dirtiness where it ran from a checkout."""

    version: str
    git_commit: str | None
    git_dirty: bool | None


@dataclass(frozen=True)
class Environment:
    """Versions and hardware; no host, user or path is named. Records may lack any of it.

    Attributes:
        python: version.
        system: name and machine.
        device: type of the device.
        device_name: as its maker calls it.
        threads: of the CPU.
        packages: version of each package that matters; None where it is not installed.
    """

    python: str | None = None
    system: str | None = None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    packages: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Sections:
    """All of a record.

    Attributes:
        status: "complete" or "partial" (interrupted, to be resumed).
        method: the classifier.
        backbone: the encoder.
        task: the episodes.
        n_episodes: number of episodes, at least 1.
        accuracy: the result.
        timing: seconds, and when the run began.
        environment: versions and hardware.
        fewbench: version and commit of this package.
        argv: the command line.
        config_sha256: hash of everything that the configuration says about the result (identity.py).
        predictions: the answers to all queries, where they were kept.
    """

    status: Literal["complete", "partial"]
    method: Method
    backbone: Backbone
    task: Task
    n_episodes: int
    accuracy: Accuracy
    timing: Timing
    environment: Environment = field(repr=False)
    fewbench: Code
    argv: tuple[str, ...]
    config_sha256: str
    predictions: Kept | None = None


class Named(Protocol):
    """The part of a run that names it: of a record, or of a run that is not done yet."""

    @property
    def method(self) -> Method:
        """The classifier."""
        ...

    @property
    def backbone(self) -> Backbone:
        """The encoder."""
        ...

    @property
    def task(self) -> Task:
        """The episodes."""
        ...

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        ...

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the run finished."""
        ...

    @property
    def config_sha256(self) -> str:
        """Hash of the configuration."""
        ...
