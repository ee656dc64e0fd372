"""Samplers choose the classes and images of episode i. An episode is a pure function of the sampler's fields and i.

A sampler knows only the number of images of each class: the rows of class c are `offsets[c]` … `offsets[c + 1] − 1`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..core.errors import UsageError
from ..core.options import Settings, as_option, check, declared, parameters_of, shown
from ..core.random_streams import Purpose, distinct, words
from ..core.ranges import LARGEST_SEED, LARGEST_SIZE
from .drawn import check_form, check_rows
from .episodes import EpisodeBatch, check_tasks

if TYPE_CHECKING:
    from .datasets.base import Dataset
    from .datasets.split import Split

BATCH = 1024  # episodes that `batches` yields at a time; a multiple of a method's chunk
CHUNK = 2048  # episodes drawn at a time, so that the working arrays stay in the processor's cache


@dataclass(frozen=True)
class Sampler(ABC):
    """Draws episodes from the classes of one split.

    A subclass is a frozen dataclass. Its fields `ways`, `shots` and `queries` take the run's options of the same name; a number
    without a field varies from episode to episode. Fields with a default are the sampler's own parameters.

    Attributes:
        version: changes when the sampler draws other rows.
        offsets: int64 [C + 1], the first row of each class; the last entry is the number of rows.
        seed: 0 ≤ seed < 2⁶⁴.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    of_one_split: ClassVar[bool] = False  # whether the episodes are a list that exists for one split only
    offsets: np.ndarray
    seed: int = field(metadata=declared(minimum=0, maximum=LARGEST_SEED))

    def __post_init__(self) -> None:
        """Check every field, and that the split is large enough. Messages call fields without a default options of the run."""
        own = {one.name for one in parameters_of(type(self)) if one.default is not MISSING}

        def said(name: str, value: Any) -> str:
            return f"sampler {self.name}: {name}={shown(value)}" if name in own else as_option(name, value)

        check(self, said)
        self.check()

    @classmethod
    def over(cls, dataset: Dataset, split: Split, *, episodes: int, **fields: Any) -> Self:
        """Make the sampler of a run.

        Args:
            dataset: the run's dataset.
            split: the run's split, open.
            episodes: number of episodes of the run, for samplers that plan all of them together.
            fields: all fields except the offsets.

        Raises:
            UsageError: the split is too small for these episodes.
            UserError: the dataset lacks something that the sampler needs, such as a taxonomy.
        """
        return cls(offsets=split.offsets, **fields)

    @abstractmethod
    def check(self) -> None:
        """Check that the split has enough classes and images.

        Raises:
            UsageError: it has too few.
        """

    @abstractmethod
    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop` at once; `draw` adds their seeds."""

    @property
    @abstractmethod
    def parameters(self) -> Settings:
        """All other settings that determine the episodes, besides ways, shots, queries, split and seed; for the record."""

    @property
    def most(self) -> int | None:
        """The number of episodes; None where there is no limit."""
        return None

    @property
    def sizes(self) -> np.ndarray:
        """Number of images of each class, int64 [C]."""
        return np.diff(self.offsets)

    def draw(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop`. An episode does not depend on the slice in which it is drawn."""
        chunks = [self._chunk(i, min(i + CHUNK, stop)) for i in range(start, stop, CHUNK)]
        if not chunks:
            return self._chunk(start, start + 1)[:0]
        columns = zip(*(vars(chunk).values() for chunk in chunks), strict=True)
        drawn = chunks[0] if len(chunks) == 1 else EpisodeBatch(*(np.concatenate(column) for column in columns))
        check_tasks(drawn, int(self.offsets[-1]))
        if self.is_plugin:
            check_rows(drawn, self.offsets)
        return replace(drawn, seeds=self.episode_seeds(drawn.index))

    @property
    def is_plugin(self) -> bool:
        """Whether the class is not of this package; what it gives is then checked."""
        return type(self).__module__.partition(".")[0] != "fewbench"

    def _chunk(self, start: int, stop: int) -> EpisodeBatch:
        drawn = self.draw_chunk(start, stop)
        return check_form(drawn, start, stop, f"sampler {type(self).__name__}") if self.is_plugin else drawn

    def batches(self, start: int, stop: int) -> Iterator[EpisodeBatch]:
        """Draw episodes `start` to `stop`, and yield them in batches."""
        for first in range(start, stop, BATCH):
            yield self.draw(first, min(first + BATCH, stop))

    def episode_seeds(self, index: np.ndarray) -> np.ndarray:
        """Seeds for the methods' own random numbers, one for each episode: int64 [E], ≥ 0."""
        first, last = (int(index.min()), int(index.max())) if len(index) else (0, -1)
        drawn = words(self.seed, Purpose.EPISODE_SEEDS, 0, first, last + 1, 2).astype(np.int64)
        return ((drawn[:, 0] << 31) ^ drawn[:, 1])[index - first]

    def coarsity(self, count: int) -> np.ndarray | None:
        """Coarsity of the first `count` episodes, float64 [count]; None where the sampler uses no class distances."""
        return None

    def disjoint_episodes(self) -> EpisodeBatch | None:
        """As many episodes as possible without using an image twice; None where the sampler does not define them."""
        return None


def check_ways(ways: int | None, classes: int) -> None:
    """Check that the split has enough classes.

    Raises:
        UsageError: there are fewer classes than ways.
    """
    if ways is not None and ways > classes:
        raise UsageError(f"--ways {ways}: this split has only {classes} classes; take fewer ways")


@dataclass(frozen=True)
class UniformSampler(Sampler):
    """N-way K-shot episodes: classes uniformly without replacement, then images uniformly without replacement.

    Support sets nest: the support of K shots is a prefix of the support of K + 1 shots, with the same queries.

    Attributes:
        ways: classes an episode, N.
        shots: support images a class, K.
        queries: query images a class.
    """

    name: ClassVar[str] = "uniform"
    ways: int = field(metadata=declared(minimum=2, maximum=LARGEST_SIZE))
    shots: int = field(metadata=declared(minimum=1))
    queries: int = field(metadata=declared(minimum=1))

    @property
    def parameters(self) -> Settings:
        """Empty: ways, shots, queries and seed determine the episodes of a split."""
        return {}

    def check(self) -> None:
        """Check that the split has enough classes, and the smallest class enough images."""
        check_ways(self.ways, len(self.sizes))
        smallest = int(self.sizes.min())
        if self.shots + self.queries > smallest:
            raise UsageError(
                f"--shots {self.shots} and --queries {self.queries} need {self.shots + self.queries} images a class, "
                f"but the smallest class of this split has {smallest}; "
                "take fewer, or leave small classes of your own photos out with --min-images"
            )

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop` at once."""
        episodes, n = stop - start, self.ways
        class_words = words(self.seed, Purpose.CLASSES, 0, start, stop, n).T  # [N, E]
        classes = distinct(class_words, np.full(episodes, len(self.sizes))).T  # [E, N]
        query_words = words(self.seed, Purpose.QUERIES, 0, start, stop, n * self.queries).reshape(episodes, n, self.queries)
        support_words = [words(self.seed, Purpose.SUPPORT, shot, start, stop, n) for shot in range(self.shots)]  # K × [E, N]
        image_words = np.concatenate([query_words.transpose(2, 0, 1), np.stack(support_words)])  # [Q/N + K, E, N]
        image_words = image_words.reshape(len(image_words), episodes * n)
        images = distinct(image_words, self.sizes[classes].reshape(-1)).reshape(-1, episodes, n)
        return self._assemble(classes, images, np.arange(start, stop))

    def _assemble(self, classes: np.ndarray, images: np.ndarray, index: np.ndarray) -> EpisodeBatch:
        """Make a batch from classes [E, N] and image numbers within the class [Q/N + K, E, N], queries first."""
        episodes = len(classes)
        rows = (images + self.offsets[classes]).transpose(1, 0, 2)  # [E, Q/N + K, N]
        label = np.arange(self.ways)
        return EpisodeBatch(
            support=rows[:, self.queries :].reshape(episodes, -1),
            support_labels=np.broadcast_to(np.tile(label, self.shots), (episodes, self.shots * self.ways)),
            query=rows[:, : self.queries].reshape(episodes, -1),
            query_labels=np.broadcast_to(np.tile(label, self.queries), (episodes, self.queries * self.ways)),
            classes=classes.astype(np.int64),
            index=index,
        )

    def disjoint_episodes(self) -> EpisodeBatch | None:
        """Episodes that use no image twice (Lafargue et al. 2024, arXiv:2409.02850, sampling without replacement).

        The images of every class are shuffled and cut into hands of shots + queries. Round r takes the r-th hand of each class
        that has one, shuffles these classes and cuts them into groups of N; a rest of fewer than N classes is not used.
        """
        hand = self.shots + self.queries
        hands = self.sizes // hand  # [C]
        largest = int(self.sizes.max())
        image_words = words(self.seed, Purpose.DISJOINT, 0, 0, len(self.sizes), largest).T  # [largest, C]
        shuffled = distinct(image_words, self.sizes)  # valid down to sizes[c] in column c
        class_groups, image_groups = [], []
        for round_ in range(int(hands.max())):
            eligible = np.flatnonzero(hands > round_)
            order = distinct(words(self.seed, Purpose.DISJOINT, 1 + round_, 0, 1, len(eligible)).T, np.array([len(eligible)]))
            classes = eligible[order[:, 0]][: len(eligible) // self.ways * self.ways]
            class_groups.append(classes.reshape(-1, self.ways))
            image_groups.append(shuffled[round_ * hand : (round_ + 1) * hand, classes].reshape(hand, -1, self.ways))
        classes = np.concatenate(class_groups)
        index = np.arange(len(classes))
        drawn = self._assemble(classes, np.concatenate(image_groups, axis=1), index)
        return replace(drawn, seeds=self.episode_seeds(index))
