"""The sections of a run record, typed. Fields with a default came after the first records, which lack them.

A section may hold further keys, of later versions or of plug-ins: they stay in the record's content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .codec import Coded, Rough

ALL: tuple[str, ...] = ("all",)  # stands for every parameter, where a record does not know the defaults


@dataclass(frozen=True)
class Text:
    """What a method was told in words.

    Attributes:
        names_sha256: of the names of the classes.
        prompts: name of the prompt set; None for a method that takes no prompts.
        prompts_sha256: of the prompts.
        class_names: name of the file of class names; None for the names of the dataset.
        choices_names_sha256: of the names that decided parameters, where they are of a file.
    """

    names_sha256: str
    prompts: str | None = None
    prompts_sha256: str | None = None
    class_names: str | None = None
    choices_names_sha256: str | None = None


@dataclass(frozen=True)
class Chosen:
    """How parameters that are "auto" were decided.

    Attributes:
        values: of each such parameter.
        split: whose episodes decided.
        episodes: how many.
        tried: each combination with its accuracy.
    """

    values: dict[str, Any]
    split: str
    episodes: int
    tried: list[list[Any]]


@dataclass(frozen=True)
class Method:
    """The classifier.

    Attributes:
        name: registered name, or `file.py:Class`.
        version: as the method declares it.
        parameters: all of them.
        transductive: whether it uses the queries together.
        uses_class_names: whether it uses the names of the classes.
        distribution: where it comes from, with a version.
        code: `version 1`, or `sha256 …` of a plug-in's code; older records have the hash of a source file, which is not read.
        changed: names of the parameters that differ from their defaults.
        learned_sha256: of the checkpoint with what the method learned; None for initial values and methods that learn nothing.
        text: names and prompts, for a method that uses them.
        chosen: how parameters that are "auto" were decided.
    """

    name: str
    version: str
    parameters: dict[str, Any]
    transductive: bool
    uses_class_names: bool
    distribution: str | None
    code: str | None = None
    changed: tuple[str, ...] = ALL
    learned_sha256: str | None = None
    text: Text | None = None
    chosen: Chosen | None = None


@dataclass(frozen=True)
class Pretraining:
    """What weights have seen.

    Attributes:
        dataset: what they were trained on.
        recipe: how.
        external: whether that was outside this benchmark.
        weights_sha256: of the weights, where others started from them.
        steps: of a meta-training; None for a pretraining.
        started_from: what a meta-training started from; None for initial weights.
    """

    dataset: str
    recipe: str
    external: bool
    weights_sha256: str | None = None
    steps: int | None = None
    started_from: Pretraining | None = None

    @property
    def meta_trained(self) -> bool:
        """Whether that was on episodes."""
        return self.steps is not None


@dataclass(frozen=True)
class Preprocess:
    """How images were made ready for the network: their channels and size, and what each channel was normalised with."""

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Backbone:
    """The encoder with its weights.

    Attributes:
        name: registered name, or `file.py:Class`.
        parameters: of the architecture, and what was set of the preprocessing.
        weights: their name.
        weights_sha256: of the weights file.
        pretraining: what they have seen.
        tune: what of them a method may move.
        feature_dim: width of a feature.
        changed: names of the parameters that differ from their defaults.
        network_parameters: how many numbers the network has, without adapters.
        code: as for the method, with the version of the package that the network comes from.
        precision: of encoding.
        compile: whether the network was compiled.
        preprocess: how images were made ready.
    """

    name: str
    parameters: dict[str, Any]
    weights: str | None
    weights_sha256: str | None
    pretraining: Pretraining | None
    tune: str
    feature_dim: int | None
    changed: tuple[str, ...] = ALL
    network_parameters: int | None = None
    code: str | None = None
    precision: str = "fp32"
    compile: bool = False
    preprocess: Preprocess | None = None


@dataclass(frozen=True)
class Corrupted:
    """What was done to the images.

    Attributes:
        name: of the corruption.
        severity: 1 to 5.
        version: of the code that does it.
        clean_fingerprint: of the images before.
    """

    name: str
    severity: int
    version: int
    clean_fingerprint: str

    def __str__(self) -> str:
        """Name and severity, such as `noise 3`."""
        return f"{self.name} {self.severity}"


@dataclass(frozen=True)
class Coarsity:
    """How far apart the classes of the episodes are.

    Attributes:
        mean: over the episodes.
        quartiles: the three.
        per_episode: of each episode.
    """

    mean: float
    quartiles: tuple[float, float, float]
    per_episode: Rough


@dataclass(frozen=True)
class Task:
    """What the episodes were drawn from, and how. Ways, shots and queries are None where they vary.

    Attributes:
        dataset: registered name, or `file.py:Class`.
        dataset_version: as the dataset declares it.
        dataset_parameters: all of them.
        fingerprint: of the images of the split.
        split: train, val or test.
        sampler: registered name, or "testbed".
        sampler_parameters: all of them.
        ways: classes of an episode.
        shots: support images of a class.
        queries: query images of a class.
        seed: of the sampler.
        episodes_sha256: over the drawn rows.
        corruption: what was done to the images.
        coarsity: how far apart the classes are, where the sampler knows it.
        code: of the sampler, as for the method.
    """

    dataset: str
    dataset_version: str
    dataset_parameters: dict[str, Any]
    fingerprint: str
    split: str
    sampler: str
    sampler_parameters: dict[str, Any]
    ways: int | None
    shots: int | None
    queries: int | None
    seed: int
    episodes_sha256: str
    corruption: Corrupted | None = None
    coarsity: Coarsity | None = None
    code: str | None = None

    @property
    def clean_fingerprint(self) -> str:
        """Of the images before anything was done to them."""
        return self.fingerprint if self.corruption is None else self.corruption.clean_fingerprint


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap interval of the mean; its ends are None for a single episode."""

    low: float | None
    high: float | None
    resamples: int


@dataclass(frozen=True)
class WithoutReplacement:
    """Accuracy on episodes that share no image, with the half-width of its interval, None of a single one."""

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
        without_replacement: on episodes that share no image, where there are such.
    """

    mean: float
    half_width: float | None
    level: float
    interval: Literal["t"]
    per_episode: Coded
    bootstrap: Bootstrap | None
    without_replacement: WithoutReplacement | None


@dataclass(frozen=True)
class Encoding:
    """How the features were made, in this run or an earlier one."""

    images: int
    seconds: float
    device: str
    device_name: str | None
    precision: str


@dataclass(frozen=True)
class Timing:
    """Seconds of a run.

    Attributes:
        encode_seconds: of encoding, 0 where the features were there.
        classify_seconds: of the method.
        total_seconds: of everything.
        started_utc: when the run began.
        disjoint_seconds: of the method on episodes that share no image.
        encoding: how the features were made; None for a method that works on images.
    """

    encode_seconds: float
    classify_seconds: float
    total_seconds: float
    started_utc: str
    disjoint_seconds: float = 0.0
    encoding: Encoding | None = None


@dataclass(frozen=True)
class Code:
    """Version of this package, and commit and dirtiness where it ran from a checkout."""

    version: str
    git_commit: str | None
    git_dirty: bool | None


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
    """

    status: Literal["complete", "partial"]
    method: Method
    backbone: Backbone
    task: Task
    n_episodes: int
    accuracy: Accuracy
    timing: Timing
    environment: dict[str, Any] = field(repr=False)
    fewbench: Code
    argv: tuple[str, ...]
    config_sha256: str
