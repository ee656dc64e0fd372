"""The sampler of Meta-Dataset: the number of classes and of images vary from episode to episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.errors import UsageError
from ..core.options import Settings, parameter
from ..core.random_streams import Purpose, bounded, distinct, uniform, words
from ..core.ranges import LARGEST_SIZE
from .episodes import ABSENT, EpisodeBatch
from .samplers import Sampler


@dataclass(frozen=True)
class MetaDatasetSampler(Sampler):
    """Varying ways and shots, by the rule of Meta-Dataset (Triantafillou et al. 2020, arXiv:1903.03096).

    Attributes:
        max_ways: most classes an episode.
        max_support: most support images an episode.
        max_support_per_class: most support images that one class adds to the budget.
        max_queries: most query images a class.
    """

    name: ClassVar[str] = "meta-dataset"
    max_ways: int = parameter(50, "most classes an episode", minimum=5, maximum=LARGEST_SIZE)
    max_support: int = parameter(500, "most support images an episode", minimum=5)
    max_support_per_class: int = parameter(100, "most support images that one class adds to the budget", minimum=1)
    max_queries: int = parameter(10, "most query images a class", minimum=1)
    least_ways: ClassVar[int] = 5

    @property
    def parameters(self) -> Settings:
        """The four limits."""
        names = ("max_ways", "max_support", "max_support_per_class", "max_queries")
        return {name: getattr(self, name) for name in names}

    def check(self) -> None:
        """Check that the split has five classes with two images each, and that `max_support` is at least `max_ways`."""
        if len(self.sizes) < self.least_ways:
            raise UsageError(f"--sampler {self.name}: needs {self.least_ways} classes, this split has {len(self.sizes)}")
        if int(self.sizes.min()) < 2:
            raise UsageError(f"--sampler {self.name}: needs two images a class, the smallest class of this split has one")
        if self.max_support < self.max_ways:
            raise UsageError(f"sampler {self.name}: max_support={self.max_support}: at least max_ways={self.max_ways}")

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop` at once."""
        episodes, most = stop - start, min(self.max_ways, len(self.sizes))
        shape_words = words(self.seed, Purpose.SHAPE, 0, start, stop, 2)  # [E, 2]
        ways = self.least_ways + bounded(shape_words[:, 0], most - self.least_ways + 1)  # [E]
        present = np.arange(most) < ways[:, None]  # [E, N]
        class_words = words(self.seed, Purpose.CLASSES, 0, start, stop, most).T  # [N, E]
        classes = distinct(class_words, np.full(episodes, len(self.sizes))).T  # [E, N]
        sizes = self.sizes[classes]  # [E, N]
        queries = np.minimum(self.max_queries, np.where(present, sizes, sizes.max()).min(axis=1) // 2)  # [E]
        shots = self._shots(sizes, present, ways, queries, uniform(shape_words[:, 1]), start, stop)  # [E, N]
        return self._draw_images(np.where(present, classes, ABSENT), shots, queries, start, stop)

    def _shots(
        self,
        sizes: np.ndarray,
        present: np.ndarray,
        ways: np.ndarray,
        queries: np.ndarray,
        beta: np.ndarray,
        start: int,
        stop: int,
    ) -> np.ndarray:
        """Support images of each class, [E, N], 0 where absent."""
        left = sizes - queries[:, None]  # [E, N] images that are not queries
        wanted = np.ceil(beta[:, None] * np.minimum(self.max_support_per_class, left)).astype(np.int64)
        support = np.minimum(self.max_support, np.where(present, wanted, 0).sum(axis=1))  # [E]
        share_words = words(self.seed, Purpose.SHARES, 0, start, stop, sizes.shape[1])
        log_noise = np.log(0.5) + uniform(share_words) * (np.log(2.0) - np.log(0.5))
        share = np.where(present, sizes * np.exp(log_noise), 0.0)
        share = share / share.sum(axis=1, keepdims=True)
        shots = np.floor(share * (support - ways)[:, None]).astype(np.int64) + 1
        return np.where(present, np.minimum(shots, left), 0)

    def _draw_images(self, classes: np.ndarray, shots: np.ndarray, queries: np.ndarray, start: int, stop: int) -> EpisodeBatch:
        episodes, most = classes.shape
        draws = self.max_queries + int(shots.max())
        steps = [words(self.seed, Purpose.SUPPORT, step, start, stop, most) for step in range(draws)]
        image_words = np.stack(steps)  # [J, E, N]
        images = distinct(image_words.reshape(draws, -1), self.sizes[classes].reshape(-1)).reshape(draws, episodes, most)
        rows = images + self.offsets[classes]  # [J, E, N]; an episode's first draws of a class are its queries
        step = np.arange(draws)[:, None, None]
        is_query = (step < queries[:, None]) & (classes != ABSENT)
        is_support = (step >= queries[:, None]) & (step < queries[:, None] + shots)
        # Widths depend only on the limits, so that batches of any size have the same shape.
        support, support_labels = _pack(rows, is_support, self.max_support)
        query, query_labels = _pack(rows, is_query, most * self.max_queries)
        return EpisodeBatch(support, support_labels, query, query_labels, classes.astype(np.int64), np.arange(start, stop))


def _pack(rows: np.ndarray, chosen: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pack the chosen rows of [J, E, N] and their labels into [E, width], padded with row 0 and label −1."""
    draws, episodes, most = rows.shape
    chosen = chosen.transpose(1, 0, 2).reshape(episodes, draws * most)
    place = np.cumsum(chosen, axis=1) - 1
    episode, column = np.nonzero(chosen)
    packed = np.zeros((episodes, width), dtype=np.int64)
    labels = np.full((episodes, width), ABSENT, dtype=np.int64)
    packed[episode, place[episode, column]] = rows.transpose(1, 0, 2).reshape(episodes, -1)[episode, column]
    labels[episode, place[episode, column]] = column % most
    return packed, labels
