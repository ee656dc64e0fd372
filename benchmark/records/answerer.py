"""The sections of a record about what answers: the method, and the backbone with the training of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.options import Settings

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

    values: Settings
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
        features: transforms of the features before the method, such as `l2,center`; None without any.
        uses_support: whether its answers depend on the support; older records of methods that are zero-shot do not say so.
        distribution: where it comes from, with a version.
        source_sha256: of older records the hash of a source file, which is not read; None in younger ones.
        code: `version 1`, or `sha256 …` of a plug-in's code.
        changed: names of the parameters that differ from their defaults.
        learned_sha256: hash of the checkpoint with the learned modules; None for initial values and methods that learn nothing.
        text: names and prompts, for a method that uses them.
        chosen: the choice of parameters that are "auto".
    """

    name: str
    version: str
    parameters: Settings
    transductive: bool
    uses_class_names: bool
    distribution: str | None
    source_sha256: str | None
    code: str | None = None
    changed: tuple[str, ...] = ALL
    learned_sha256: str | None = None
    text: Text | None = None
    chosen: Chosen | None = None
    uses_support: bool = True
    features: str | None = None


@dataclass(frozen=True)
class Pretraining:
    """The training of weights. Of most weights from elsewhere nobody knows more than the first three.

    Attributes:
        dataset: the dataset that they were trained on.
        recipe: name of the training recipe.
        external: whether they were trained outside this benchmark.
        weights_sha256: hash of the weights, where a meta-training started from them.
        steps: steps of a meta-training; None for a pretraining.
        started_from: training of the weights that a meta-training started from, or of the teacher of a pretraining; None for
            initial weights without a teacher.
        dataset_version: as the dataset declares it.
        dataset_parameters: all of them.
        fingerprint: of the images of the split.
        split: class split that was learnt.
        classes: number of its classes.
        captions_sha256: hash of a file of captions that was read beside it.
        recipe_parameters: of a pretraining.
        epochs: passes over the images, of a pretraining.
        images: images that were seen, each as often as it was, by a pretraining.
        episodes: of a meta-training.
        seconds: that the training took.
        stopped: why it ended: done, patience or unfinished.
        seed: of initial weights, order and augmentation.
        options_sha256: hash of all options but the seed and the device: equal where trainings differ in nothing but these.
    """

    dataset: str
    recipe: str
    external: bool
    weights_sha256: str | None = None
    steps: int | None = None
    started_from: Pretraining | None = None
    dataset_version: str | None = None
    dataset_parameters: Settings | None = None
    fingerprint: str | None = None
    split: str | None = None
    classes: int | None = None
    captions_sha256: str | None = None
    recipe_parameters: Settings | None = None
    epochs: float | None = None
    images: int | None = None
    episodes: int | None = None
    seconds: float | None = None
    stopped: str | None = None
    seed: int | None = None
    options_sha256: str | None = None

    @property
    def meta_trained(self) -> bool:
        """Whether the weights were trained on episodes."""
        return self.steps is not None


@dataclass(frozen=True)
class NetworkInput:
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
        views: number of the views of each image, and what is made of them, such as "8, majority"; None: there is one.
        imported: the backbone that made imported features, as far as their file says it.
    """

    name: str
    parameters: Settings
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
    preprocess: NetworkInput | None = None
    views: str | None = None
    imported: Mapping[str, object] | None = None
