"""Which episodes a config asks for: the sampler's name, its typed parameters, and the sampler over an open split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from pathlib import Path

from ...core.code_versions import code_of
from ...core.errors import UsageError, UserError
from ...core.options import Settings, parameters_of, typed_values
from ...tasks.conditions.conditions import Conditions
from ...tasks.conditions.sampler import ConditionedSampler
from ...tasks.corruptions import VERSION
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.episodes import check_tasks
from ...tasks.samplers import Sampler
from ...tasks.testbed import Testbed
from ...tasks.testbed_files import read_testbed
from ...tasks.testbed_sampler import TestbedSampler
from .. import registry
from ..config import SHAPE, RunConfig
from ..records.task import Corrupted, Task


@dataclass(frozen=True)
class Sampling:
    """How episodes will be drawn once the split is open.

    Attributes:
        name: registered name of the sampler, or "testbed".
        sampler: its class.
        parameters: its own parameters, typed.
        shape: ways, shots and queries; None where they vary.
        seed: of the task.
        episodes: how many are wanted.
        testbed: from a file.
        conditions: in what the task departs from balanced queries and right labels.
    """

    name: str
    sampler: type[Sampler]
    parameters: Settings
    shape: dict[str, int | None]
    seed: int
    episodes: int
    testbed: Testbed | None = None
    conditions: Conditions = Conditions()

    def over(self, dataset: Dataset, split: Split) -> Sampler:
        """The sampler over a split.

        Raises:
            UsageError: the split is too small for the episodes asked for.
            UserError: the testbed belongs to other images, or the dataset has no taxonomy.
        """
        return ConditionedSampler.around(self._clean(dataset, split), self.conditions)

    def _clean(self, dataset: Dataset, split: Split) -> Sampler:
        if self.testbed is not None:
            self.testbed.check_fits(split.offsets, split.fingerprint or None)
            return TestbedSampler(split.offsets, self.seed, self.testbed)
        shape = {name: value for name, value in self.shape.items() if value is not None}
        return self.sampler.over(dataset, split, episodes=self.episodes, seed=self.seed, **shape, **self.parameters)


def sampling_of(config: RunConfig) -> Sampling:
    """Look up the sampler of a config.

    Raises:
        UsageError: an unknown sampler or parameter, a value of the wrong type, or a query balance where queries vary.
        UserError: the testbed file cannot be read, or a plug-in does not import.
    """
    conditions = config.conditions or Conditions()
    if config.testbed is not None:
        testbed = read_testbed(Path(config.testbed))
        _check(testbed, config.testbed)
        shape: dict[str, int | None] = dict(zip(SHAPE, testbed.shape, strict=True))
        _check_conditions(conditions, shape, f"--testbed {config.testbed}")
        parameters = {"testbed_sha256": testbed.sha256}
        tasks = min(config.episodes, len(testbed))
        return Sampling(TestbedSampler.name, TestbedSampler, parameters, shape, config.seed, tasks, testbed, conditions)
    entry = registry.find("samplers", config.sampler)
    cls: type[Sampler] = registry.load(entry)
    fields = {field.name: field for field in parameters_of(cls)}
    own = {name: field for name, field in fields.items() if field.default is not MISSING}
    typed = typed_values(own, config.settings_of("sampler"), f"sampler {config.sampler}")
    parameters = {**{name: field.default for name, field in own.items()}, **typed}
    shape = {name: getattr(config, name) if name in fields else None for name in SHAPE}
    _check_conditions(conditions, shape, f"the sampler {config.sampler}")
    return Sampling(entry.name, cls, parameters, shape, config.seed, config.episodes, conditions=conditions)


def task_section(config: RunConfig, dataset: Dataset, sampling: Sampling) -> Task:
    """The record's `task` section, as far as it is known before the images are opened.

    Args:
        config: with the sampling (`with_sampling`).
        dataset: that it names.
        sampling: that it asks for.
    """
    corruption = config.corrupted_by
    return Task(
        dataset=registry.find("datasets", config.dataset).name,
        dataset_version=dataset.version,
        dataset_parameters=dataset.recorded_parameters(),
        fingerprint="",
        split=config.split,
        sampler=config.sampler,
        sampler_parameters=sampling.parameters,
        seed=config.seed,
        episodes_sha256="",
        corruption=None if corruption is None else Corrupted(corruption.name, corruption.severity, VERSION, ""),
        conditions=config.conditions,
        code=code_of(sampling.sampler),
        ways=sampling.shape["ways"],
        shots=sampling.shape["shots"],
        queries=sampling.shape["queries"],
    )


def _check_conditions(conditions: Conditions, shape: Mapping[str, int | None], what: str) -> None:
    """Check that classes have equally many images, where further ones are drawn, and enough of them where some get labels.

    Raises:
        UsageError: their numbers vary, or there are too few.
    """
    asked = {"--query-balance": conditions.query_balance, "--unlabelled": conditions.unlabelled}
    options = [option for option, value in asked.items() if value is not None]
    if options and (shape["ways"] is None or shape["queries"] is None):
        raise UsageError(f"{options[0]}: {what} decides how many images a class has; take one with a fixed number")
    if conditions.acquire is None or conditions.budget is None or shape["ways"] is None:
        return
    pool = shape["ways"] * (conditions.unlabelled or 0)
    if conditions.budget > pool:
        raise UsageError(f"--budget {conditions.budget}: an episode has {pool} images without a label; take fewer")


def _check(testbed: Testbed, path: Path) -> None:
    """Check that there is something to evaluate on.

    Raises:
        UserError: the file lists classes alone, or a task that is none.
    """
    if testbed.classes_only:
        raise UserError(f"--testbed {path}: it lists classes only; make one with images to run on it")
    try:
        check_tasks(testbed.episodes)
    except UserError as error:
        raise UserError(f"--testbed {path}: {error}") from None


def with_sampling(config: RunConfig, sampling: Sampling) -> RunConfig:
    """The config with what a testbed file decides: the sampler's name, and at most as many episodes as it has tasks."""
    return replace(config, sampler=sampling.name, episodes=sampling.episodes)
