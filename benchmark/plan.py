"""From a `RunConfig` to the objects of a run: every name looked up, every parameter typed, nothing computed yet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..methods.base import Method
from ..tasks.datasets.base import Dataset, Split, split_name
from ..tasks.errors import UsageError, did_you_mean
from ..tasks.parameters import build, parameters_of, typed_values
from ..tasks.progress import Progress
from ..tasks.samplers import MetaDatasetSampler, Sampler, UniformSampler
from . import registry
from .backbones.loading import LoadedBackbone, find_weights, load_backbone
from .config import RunConfig
from .provenance import package_version
from .records import config_digest, record_path, task_slug

SAMPLERS: dict[str, type[Sampler]] = {"meta-dataset": MetaDatasetSampler, "uniform": UniformSampler}
EPISODE_SHAPE = {"ways", "shots", "queries"}  # options of their own, not sampler parameters
GIVEN_TO_SAMPLERS = {"offsets", "seed"}  # known once the split is open
SKLEARN = "sklearn:"


@dataclass(frozen=True)
class Plan:
    """A run with its names resolved.

    Attributes:
        config: what was asked for.
        method: the classifier.
        method_section: the record's `method` section.
        dataset: where images come from.
        backbone: the encoder, with weights.
        sampler_class: how episodes are drawn.
        sampler_settings: its parameters.
    """

    config: RunConfig
    method: Method
    method_section: dict[str, Any]
    dataset: Dataset
    backbone: LoadedBackbone
    sampler_class: type[Sampler]
    sampler_settings: dict[str, Any]

    def open_split(self, split: str, progress: Progress) -> Split:
        """A split of the dataset, built or downloaded where it is not there yet."""
        return self.dataset.split(split, progress)

    def sampler(self, split: Split) -> Sampler:
        """The sampler over a split.

        Raises:
            UsageError: the split is too small for the episodes asked for.
        """
        return self.sampler_class(offsets=split.offsets, seed=self.config.seed, **self.sampler_settings)

    def shape(self) -> dict[str, int | None]:
        """Ways, shots and queries; None where they vary."""
        return {name: self.sampler_settings.get(name) for name in ("ways", "shots", "queries")}

    def identity(self) -> dict[str, Any]:
        """Everything the configuration says about the result; its hash names the record."""
        config = self.config
        return {
            "method": {key: self.method_section[key] for key in ("name", "parameters")},
            "backbone": {key: self.backbone.describe()[key] for key in ("name", "parameters", "weights_sha256", "tune")},
            "task": {
                "dataset": config.dataset,
                "dataset_version": self.dataset.version,
                "dataset_parameters": asdict(self.dataset),
                "split": config.split,
                "sampler": config.sampler,
                "sampler_settings": self.sampler_settings,
                "seed": config.seed,
            },
            "episodes": config.episodes,
            "level": config.level,
            "bootstrap": config.bootstrap,
        }

    def config_sha256(self) -> str:
        """Hexadecimal SHA-256 of `identity`."""
        return config_digest(self.identity())

    def path(self) -> Path:
        """Where the record belongs."""
        shape = self.shape()
        return record_path(
            self.config.output,
            dataset=self.config.dataset,
            task_slug=task_slug(self.config.split, self.config.sampler, shape["ways"], shape["shots"], shape["queries"]),
            method=self.method_section["name"],
            backbone=self.backbone.name,
            config_sha256=self.config_sha256(),
        )


def make_plan(config: RunConfig) -> Plan:
    """Look up every name of a config.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type; one line with the nearest right one.
        UserError: a plug-in does not import, or a weights file does not fit.
    """
    split_name(config.split)
    dataset_class = registry.load(registry.find("datasets", config.dataset))
    dataset = build(dataset_class, config.settings_of("dataset"), f"dataset {config.dataset}")
    sampler_class, sampler_settings = _sampler(config)
    method, method_section = make_method(config.method, config.settings_of("method"))
    registry.find("backbones", config.backbone)
    weights = find_weights(config.backbone, config.weights, config.dataset)
    backbone = load_backbone(config.backbone, config.settings_of("backbone"), weights)
    return Plan(config, method, method_section, dataset, backbone, sampler_class, sampler_settings)


def _sampler(config: RunConfig) -> tuple[type[Sampler], dict[str, Any]]:
    if config.sampler not in SAMPLERS:
        raise UsageError(f"unknown sampler '{config.sampler}'; {did_you_mean(config.sampler, SAMPLERS)}")
    cls = SAMPLERS[config.sampler]
    known = {parameter.name: parameter for parameter in parameters_of(cls) if parameter.name not in GIVEN_TO_SAMPLERS}
    shape = {name: getattr(config, name) for name in EPISODE_SHAPE & known.keys()}
    own = {name: parameter for name, parameter in known.items() if name not in EPISODE_SHAPE}
    values = typed_values(own, config.settings_of("sampler"), f"sampler {config.sampler}")
    return cls, shape | {name: parameter.default for name, parameter in own.items()} | values


def make_method(name: str, settings: dict[str, Any]) -> tuple[Method, dict[str, Any]]:
    """A method by name, and the record's `method` section.

    Raises:
        UsageError: unknown name or parameter.
        UserError: a plug-in does not import.
    """
    if name.startswith(SKLEARN):
        from ..methods.scikit_learn import from_path

        method = from_path(name.removeprefix(SKLEARN), settings)
        parameters, distribution = dict(method.values), f"scikit-learn {package_version('scikit-learn')}"
    else:
        entry = registry.find("methods", name)
        method = build(registry.load(entry), settings, f"method {name}")
        parameters = {parameter.name: getattr(method, parameter.name) for parameter in parameters_of(type(method))}
        name, version = entry.name, package_version(entry.origin)
        distribution = f"{entry.origin} {version}" if version else entry.origin
    section = {
        "name": name,
        "version": method.version,
        "parameters": parameters,
        "changed": sorted(settings),
        "source_sha256": registry.source_sha256(type(method)),
        "transductive": method.transductive,
        "uses_class_names": method.uses_class_names,
        "distribution": distribution,
    }
    return method, section
