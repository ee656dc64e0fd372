"""From a `RunConfig` to the objects of a run: every name looked up, every parameter typed, nothing computed yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from ...core.code_versions import code_of
from ...core.errors import UsageError
from ...core.options import Settings
from ...core.progress import SILENT, Progress
from ...methods.base import Method
from ...tasks import corrupted_split
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.photos import Photos
from ...tasks.datasets.split import Split
from ...tasks.samplers import Sampler, check_ways
from .. import registry
from ..backbones.weights.checkpoint import Checkpoint
from ..backbones.weights.description import UNTRAINED
from ..backbones.weights.find import find_weights, with_checkpoint
from ..backbones.weights.loading import LoadedBackbone, backbone_class, learned_part, load_backbone
from ..config import RunConfig
from ..features.encode import Encoding
from ..features.transforms import Transforms
from ..records import answerer
from ..records.identity import config_digest, configuration, record_path, task_slug
from ..records.provenance import package_version
from ..records.task import Task
from ..text.texts import Texts, texts_of
from .checks import CHOICES, check_method, check_options
from .sampling import Sampling, sampling_of, task_section, with_sampling
from .source import Inputs

PLAIN, WITH_TEXT = "conv4", "clip-tiny"  # the backbones that nobody has to name
OF_PHOTOS = "efficientnet-lite0"  # of a user's own, where no weights are named either


@dataclass(frozen=True)
class Plan:
    """A run with its names resolved.

    Attributes:
        config: what was asked for.
        method: the classifier.
        method_section: the record's `method` section.
        dataset_name: registered name, or `file.py:Class`.
        dataset: where images come from.
        backbone: the encoder, with weights.
        encoding: how its features are made.
        learned: what the method learned beside the backbone; None where it has no such part.
        texts: names and prompts, for a method that uses them.
        sampling: how episodes are drawn.
        transforms: of the features.
        opened: splits that are open already, by name, for a plan that has travelled.
    """

    config: RunConfig
    method: Method
    method_section: answerer.Method
    dataset_name: str
    dataset: Dataset
    backbone: LoadedBackbone
    encoding: Encoding
    learned: nn.Module | None
    sampling: Sampling
    texts: Texts | None = None
    transforms: Transforms = Transforms()
    opened: Mapping[str, Split] = field(default_factory=dict)

    @property
    def uses_train(self) -> bool:
        """Whether the features of the train split are needed beside the episodes."""
        return self.method.uses_train_mean or self.method.uses_train_classes or self.transforms.use_train

    @property
    def splits_beside(self) -> list[str]:
        """The splits that answers depend on beside that of the episodes."""
        choices = [CHOICES] if self.method.undecided_with(self.backbone.tune) else []
        return [*(["train"] if self.uses_train else []), *choices]

    @property
    def inputs(self) -> Inputs:
        """The method's input: features or images."""
        return self.method.inputs_with(self.backbone.tune)

    def open_split(self, split: str, progress: Progress) -> Split:
        """A split of the dataset, built or downloaded where it is not there yet."""
        return self.opened.get(split) or self.dataset.split(split, progress)

    def corrupted(self, split: Split) -> Split:
        """The split with the images that the run is on; the sampler is made over the clean one.

        Raises:
            UsageError: the corruption takes away what the images do not have.
        """
        return corrupted_split.corrupted(split, self.config.corrupted_by)

    def sampler(self, split: Split) -> Sampler:
        """The sampler over a split.

        Raises:
            UsageError: the split is too small for the episodes asked for.
        """
        return self.sampling.over(self.dataset, split)

    def light(self) -> Plan:
        """The plan without its network, to be kept."""
        return replace(self, backbone=replace(self.backbone, module=nn.Identity()), learned=None)

    def backbone_section(self) -> answerer.Backbone:
        """The record's `backbone` section."""
        views = None if self.config.views is None else f"{self.config.views}, {self.config.vote}"
        return replace(self.backbone.section(self.encoding), views=views)

    def task_section(self) -> Task:
        """The record's `task` section, as far as it is known before the images are opened."""
        return task_section(self.config, self.dataset, self.sampling)

    def config_sha256(self) -> str:
        """Hexadecimal SHA-256 of everything that the configuration says about the result; it names the record."""
        config, weights = self.config, self.backbone.pretraining
        return config_digest(
            configuration(
                self.method_section,
                self.backbone_section(),
                self.task_section(),
                learns=self.learned is not None,
                initial=weights.recipe == UNTRAINED,
                episodes=config.episodes,
                level=config.level,
                bootstrap=config.bootstrap,
            )
        )

    def path(self) -> Path:
        """Where the record belongs."""
        config, shape = self.config, self.sampling.shape
        return record_path(
            config.results,
            dataset=self.dataset_name,
            task_slug=task_slug(
                config.split,
                config.sampler,
                shape["ways"],
                shape["shots"],
                shape["queries"],
                config.corrupted_by,
                config.conditions,
            ),
            method=self.method_section.name,
            backbone=self.backbone.name,
            config_sha256=self.config_sha256(),
        )


def make_plan(config: RunConfig, progress: Progress = SILENT) -> Plan:
    """Look up every name of a config.

    Args:
        config: what is asked for.
        progress: told which of a weights file's tensors the backbone took.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type, with the nearest right one in the same line; a
            device that is not there or lacks the precision, or options of an encoding where nothing is encoded.
        UserError: a plug-in does not import, or a weights file does not fit.
    """
    check_options(config)
    config, checkpoint = with_checkpoint(config)
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    sampling = sampling_of(config)
    if classes := dataset.class_list(config.split):  # before anything is rendered or read; without any, opening says why
        check_ways(sampling.shape["ways"], len(classes))
    method, section = make_method(config.method, config.settings_of("method"))
    config = with_backbone(with_sampling(config, sampling), method)
    texts = texts_of(config, method)
    tune, encoding = check_method(config, method)
    choices = CHOICES if method.undecided_with(tune) else None
    if texts is not None:
        section = replace(section, text=texts.section(dataset, config.split, choices))
    backbone = backbone_of(config, dataset, method, tune, progress, checkpoint)
    learned = learned_part(method, config.method, backbone, sampling.shape["ways"], checkpoint)
    if learned is not None and checkpoint is not None:
        section = replace(section, learned_sha256=backbone.weights_sha256)
    name = registry.find("datasets", config.dataset).name
    dataset = dataset.for_backbone(backbone.square)
    transforms = transforms_of(config, method, backbone, learned)
    # With unlabelled images a method that would use the queries in their place answers each query alone.
    alone = config.unlabelled is not None and method.uses_unlabelled
    section = replace(section, features=str(transforms) or None, transductive=section.transductive and not alone)
    return Plan(config, method, section, name, dataset, backbone, encoding, learned, sampling, texts, transforms)


def transforms_of(config: RunConfig, method: Method, backbone: LoadedBackbone, learned: nn.Module | None) -> Transforms:
    """The transforms of a run's features.

    Raises:
        UsageError: an unknown one, more components than a feature has numbers, or a method whose features have to stay as its
            network makes them.
    """
    found, option = Transforms.parse(config.features), f"--features {config.features}"
    if found.steps and method.inputs_with(backbone.tune) == "images":
        raise UsageError(f"{option}: {config.method} works on images; take a method on features")
    if found.steps and (method.uses_text or method.uses_text_tower or learned is not None):
        beside = "learned with" if learned is not None else "compares with text"
        raise UsageError(f"{option}: {config.method} {beside} the features as they are; leave the option out")
    if found.components > backbone.feature_dim:
        raise UsageError(f"{option}: a feature of {backbone.name} has {backbone.feature_dim} numbers; take fewer components")
    return found


def with_backbone(config: RunConfig, method: Method) -> RunConfig:
    """The config with the backbone that nobody has to name."""
    of_photos = config.weights is None and issubclass(registry.load(registry.find("datasets", config.dataset)), Photos)
    plain = OF_PHOTOS if of_photos else PLAIN
    return replace(config, backbone=config.backbone or (WITH_TEXT if method.uses_text or method.uses_text_tower else plain))


def backbone_of(
    config: RunConfig, dataset: Dataset, method: Method, tune: str, progress: Progress, checkpoint: Checkpoint | None
) -> LoadedBackbone:
    """The backbone of a run with its weights, or the features that stand for one.

    Raises:
        UserError: there are no such weights, or they do not fit.
    """
    assert config.backbone is not None
    precomputed = backbone_class(config.backbone).precomputed(config, dataset, method, tune)
    if precomputed is not None:
        return precomputed
    weights = checkpoint or find_weights(config.backbone, config.weights, config.dataset)
    return load_backbone(config.backbone, config.settings_of("backbone"), weights, progress, tune)


def make_method(name: str, settings: Settings) -> tuple[Method, answerer.Method]:
    """A method by name, and the record's `method` section.

    Raises:
        UsageError: unknown name or parameter.
        UserError: a plug-in does not import.
    """
    entry = registry.find("methods", name)
    method: Method = registry.make("methods", name, settings)
    distribution = method.distribution or entry.origin
    version = package_version(distribution)
    section = answerer.Method(
        name=entry.name,
        version=method.version,
        parameters=method.parameters,
        transductive=method.transductive,
        uses_class_names=method.uses_class_names,
        distribution=f"{distribution} {version}" if version else distribution,
        source_sha256=None,
        code=code_of(type(method)),
        changed=tuple(method.changed),
        uses_support=method.uses_support,
    )
    return method, section
