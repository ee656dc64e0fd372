"""Which episodes a config asks for: the sampler's name, its typed parameters, and the sampler over an open split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UsageError, did_you_mean
from ...core.options import parameter, parameters_of, typed_values
from ...tasks.datasets.base import Dataset, Split
from ...tasks.imbalanced import ImbalancedSampler
from ...tasks.samplers import MetaDatasetSampler, Sampler, UniformSampler
from ...tasks.testbed import Testbed, make_testbed
from ...tasks.testbed_files import read_testbed
from ...tasks.testbed_sampler import SemanticSampler, TestbedSampler
from ..config import RunConfig
from .split_classes import class_distances

SHAPE = ("ways", "shots", "queries")  # options of their own, not sampler parameters
GIVEN = {"offsets", "seed", *SHAPE}


@dataclass(frozen=True)
class SemanticParameters:
    """What `--sampler semantic` takes (Bennequin et al. 2022, arXiv:2205.05155)."""

    alpha: float = parameter(0.3830, "how much nearness of classes counts; 0 is uniform")
    beta: float = parameter(100.0, "how much a class that was drawn often is avoided")
    distances: str | None = parameter(None, "CSV matrix, or open_clip:ARCH/TAG, instead of the dataset's taxonomy")


# What the parameters of each sampler are read from.
SAMPLERS: dict[str, type] = {
    "imbalanced": ImbalancedSampler,
    "meta-dataset": MetaDatasetSampler,
    "semantic": SemanticParameters,
    "uniform": UniformSampler,
}


@dataclass(frozen=True)
class Sampling:
    """How episodes will be drawn once the split is open.

    Attributes:
        name: registered name of the sampler, or "testbed".
        parameters: its own parameters, typed.
        shape: ways, shots and queries; None where they vary.
        seed: of the task.
        episodes: how many are wanted; a semantic testbed depends on it.
        testbed: from a file.
    """

    name: str
    parameters: dict[str, Any]
    shape: dict[str, int | None]
    seed: int
    episodes: int
    testbed: Testbed | None = None

    def over(self, dataset: Dataset, split: Split) -> Sampler:
        """The sampler over a split.

        Raises:
            UsageError: the split is too small for the episodes asked for.
            UserError: the testbed belongs to other images, or the dataset has no taxonomy.
        """
        if self.testbed is not None:
            self.testbed.check_fits(split.offsets, split.fingerprint)
            return TestbedSampler(split.offsets, self.seed, self.testbed)
        shape = {name: value for name, value in self.shape.items() if value is not None}
        if self.name == SemanticSampler.name:
            return SemanticSampler(split.offsets, self.seed, self._draw_testbed(dataset, split, shape))
        cls: type[Sampler] = SAMPLERS[self.name]
        return cls(offsets=split.offsets, seed=self.seed, **shape, **self.parameters)

    def _draw_testbed(self, dataset: Dataset, split: Split, shape: dict[str, int]) -> Testbed:
        matrix = class_distances(dataset, split.name, split.class_ids, np.diff(split.offsets), self.parameters["distances"])
        return make_testbed(
            split.offsets,
            matrix,
            tasks=self.episodes,
            alpha=self.parameters["alpha"],
            beta=self.parameters["beta"],
            seed=self.seed,
            dataset=split.dataset,
            split=split.name,
            fingerprint=split.fingerprint,
            **shape,
        )


def sampling_of(config: RunConfig) -> Sampling:
    """Look up the sampler of a config.

    Raises:
        UsageError: an unknown sampler or parameter, or a value of the wrong type.
        UserError: the testbed file cannot be read.
    """
    if config.testbed is not None:
        testbed = read_testbed(Path(config.testbed))
        shape: dict[str, int | None] = dict(zip(SHAPE, testbed.shape, strict=True))
        parameters = {"testbed_sha256": testbed.sha256}
        return Sampling(TestbedSampler.name, parameters, shape, config.seed, min(config.episodes, len(testbed)), testbed)
    if config.sampler not in SAMPLERS:
        raise UsageError(f"unknown sampler '{config.sampler}'; {did_you_mean(config.sampler, SAMPLERS)}")
    known = {parameter.name: parameter for parameter in parameters_of(SAMPLERS[config.sampler])}
    own = {name: parameter for name, parameter in known.items() if name not in GIVEN}
    typed = typed_values(own, config.settings_of("sampler"), f"sampler {config.sampler}")
    parameters = {name: parameter.default for name, parameter in own.items()} | typed
    varying = config.sampler == MetaDatasetSampler.name
    shape = {name: None if varying else getattr(config, name) for name in SHAPE}
    return Sampling(config.sampler, parameters, shape, config.seed, config.episodes)


def with_sampling(config: RunConfig, sampling: Sampling) -> RunConfig:
    """The config with what a testbed file decides: the sampler's name, and at most as many episodes as it has tasks."""
    return replace(config, sampler=sampling.name, episodes=sampling.episodes)
