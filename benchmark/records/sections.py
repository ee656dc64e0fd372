"""The sections of a run record, typed. Fields with a default are younger than the first records, which lack them.

A section may hold further keys, of later versions or of plug-ins: they stay in the record's content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .codec import Coded, Rough

ALL: tuple[str, ...] = ("all",)  # stands for every parameter, where a record does not know the defaults


@dataclass(frozen=True)
class Text:
    """The class names and prompts of a method that uses text.

    Attributes:
        names_sha256: hash of the class names.
        prompts: name of the prompt set; None for a method that takes no prompts.
        prompts_sha256: hash of the prompts.
        class_names: name of the file of class names; None for the dataset's own names.
        choices_names_sha256: hash of the names with which parameters were chosen, where they come from a file.
    """

    names_sha256: str
    prompts: str | None = None
    prompts_sha256: str | None = None
    class_names: str | None = None
    choices_names_sha256: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The choice of parameters that are "auto".

    Attributes:
        values: the chosen value of each such parameter.
        split: class split whose episodes decided.
        episodes: number of these episodes.
        tried: each combination of values with its accuracy.
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
        uses_support: whether its answers depend on the support; older records of methods that are zero-shot do not say so.
        distribution: where it comes from, with a version.
        code: `version 1`, or `sha256 …` of a plug-in's code; older records have the hash of a source file, which is not read.
        changed: names of the parameters that differ from their defaults.
        learned_sha256: hash of the checkpoint with the learned modules; None for initial values and methods that learn nothing.
        text: names and prompts, for a method that uses them.
        chosen: the choice of parameters that are "auto".
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
    uses_support: bool = True


@dataclass(frozen=True)
class Pretraining:
    """The training of weights.

    Attributes:
        dataset: the dataset that they were trained on.
        recipe: name of the training recipe.
        external: whether they were trained outside this benchmark.
        weights_sha256: hash of the weights, where a meta-training started from them.
        steps: steps of a meta-training; None for a pretraining.
        started_from: training of the weights that a meta-training started from; None for initial weights.
    """

    dataset: str
    recipe: str
    external: bool
    weights_sha256: str | None = None
    steps: int | None = None
    started_from: Pretraining | None = None

    @property
    def meta_trained(self) -> bool:
        """Whether the weights were trained on episodes."""
        return self.steps is not None


@dataclass(frozen=True)
class Preprocess:
    """The network's input: channels and size of an image, and mean and deviation that normalise each channel."""

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Backbone:
    """The encoder with its weights.

    Attributes:
        name: registered name, or `file.py:Class`.
        parameters: of the architecture, and of the preprocessing where it was set.
        weights: name of the weights.
        weights_sha256: hash of the weights file.
        pretraining: training of the weights; None for initial ones.
        tune: which weights a method may move (`--tune`).
        feature_dim: width of a feature.
        changed: names of the parameters that differ from their defaults.
        network_parameters: number of the network's parameters, without adapters.
        code: as for the method, with the version of the package that the network comes from.
        precision: precision of encoding.
        compile: whether the network was compiled.
        preprocess: the network's input.
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
    """The corruption of the images.

    Attributes:
        name: name of the corruption.
        severity: 1 to 5.
        version: version of the corruption's code.
        clean_fingerprint: fingerprint of the clean images.
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
        mean: mean over the episodes.
        quartiles: the three quartiles.
        per_episode: coarsity of each episode.
    """

    mean: float
    quartiles: tuple[float, float, float]
    per_episode: Rough


@dataclass(frozen=True)
class Task:
    """The images and the sampler of the episodes. Ways, shots and queries are None where they vary.

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
        corruption: the corruption of the images; None for clean ones.
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
        """Fingerprint of the clean images."""
        return self.fingerprint if self.corruption is None else self.corruption.clean_fingerprint


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
class Encoding:
    """The encoding of the features, in this run or an earlier one."""

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
