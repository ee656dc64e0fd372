"""Class-imbalanced support sets: shots that follow a Dirichlet distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..core.options import Settings, parameter
from ..core.random_streams import Purpose, words
from .dirichlet import log_shares
from .episodes import EpisodeBatch
from .samplers import UniformSampler


@dataclass(frozen=True)
class ImbalancedSampler(UniformSampler):
    """N-way episodes with K·N support images in all, shared out among the classes at random, at least one each.

    The shares follow Dirichlet(concentration), as those of the queries do in Veilleux et al. 2021 (arXiv:2204.11181). Classes
    and queries are those of `UniformSampler` with the same seed, and a class's support begins with the same images.

    Attributes:
        ways: classes an episode, N.
        shots: support images a class on average, K. The limit of a class is the size of the smallest class minus the queries.
        queries: query images a class.
        concentration: parameter of the symmetric Dirichlet distribution, > 0: small is imbalanced, large is balanced, and the
            paper takes 2.
    """

    name: ClassVar[str] = "imbalanced"
    concentration: float = parameter(2.0, "how even the shots are; small numbers are uneven", minimum=1e-3, maximum=1e6)

    @property
    def parameters(self) -> Settings:
        """The concentration."""
        return {"concentration": self.concentration}

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop` at once."""
        shots = self.draw_shots(start, stop)  # [E, N]
        most = int(shots.max())
        uniform_sampler = UniformSampler(self.offsets, self.seed, self.ways, most, self.queries)
        batch = uniform_sampler.draw_chunk(start, stop)
        kept = (np.arange(most)[:, None] < shots[:, None, :]).reshape(stop - start, -1)  # [E, most · N], shot-major
        support, labels = (rows[kept].reshape(stop - start, -1) for rows in (batch.support, batch.support_labels))
        return replace(batch, support=support, support_labels=labels)

    def disjoint_episodes(self) -> None:
        """Return None, since the shots of a class differ from episode to episode."""
        return None

    def draw_shots(self, start: int, stop: int) -> np.ndarray:
        """Support images of each class, int64 [E, N], each row adding up to K·N.

        A class's j-th image beyond its first has the priority share / (j − ½), and the largest priorities win: the divisor
        method of Sainte-Laguë, which rounds shares to whole images with the right sum and within the limits.
        """
        spare = (self.shots - 1) * self.ways  # images beyond the first of each class
        limit = min(spare, int(self.sizes.min()) - self.queries - 1)  # such images of one class
        steps = np.arange(1, limit + 1) - 0.5
        drawn = words(self.seed, Purpose.SHARES, 0, start, stop, 2 * self.ways)
        priority = log_shares(drawn, self.concentration)[:, :, None] - np.log(steps)  # [E, N, limit]
        winners = np.argsort(-priority.reshape(stop - start, -1), axis=1, kind="stable")[:, :spare]
        beyond = (winners[:, :, None] // max(limit, 1) == np.arange(self.ways)).sum(axis=1)
        return 1 + beyond
