"""The section of a record about the task: the images, and the episodes that are drawn of them."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.options import Settings
from ...tasks.conditions.conditions import Conditions
from .codec import Rough


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
        conditions: in what the task departs from balanced queries and right labels; None where it does not.
        coarsity: how far apart the classes are, where the sampler knows it.
        code: of the sampler, as for the method.
        beside: fingerprints of the further splits that the answers depend on, by name; None where there are none, and in older
            records.
    """

    dataset: str
    dataset_version: str
    dataset_parameters: Settings
    fingerprint: str
    split: str
    sampler: str
    sampler_parameters: Settings
    ways: int | None
    shots: int | None
    queries: int | None
    seed: int
    episodes_sha256: str
    corruption: Corrupted | None = None
    conditions: Conditions | None = None
    coarsity: Coarsity | None = None
    code: str | None = None
    beside: dict[str, str] | None = None

    @property
    def clean_fingerprint(self) -> str:
        """Fingerprint of the clean images."""
        return self.fingerprint if self.corruption is None else self.corruption.clean_fingerprint
