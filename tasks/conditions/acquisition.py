"""Labels on request: which images of an episode's pool get one, by the rule of active learning that a task names.

    random      any image alike
    margin      the smallest margin between the two likeliest classes (Scheffer, Decomain and Wrobel 2001, "Active hidden
                Markov models for information extraction", IDA)
    entropy     the largest entropy of the classes' probabilities (Settles 2009, "Active learning literature survey")
    coreset     the largest distance to the nearest image with a label: greedy k-centre (Sener and Savarese 2018, "Active
                learning for convolutional neural networks: a core-set approach", arXiv:1708.00489)
    typiclust   the most typical image of each large cluster without a label (`typical.py`)

The pool is the episode's images without labels. Rules see features of length 1 and the labels known so far; they never see the
true class of an image before it is chosen. `margin`, `entropy` and `coreset` choose one image after another and know the labels
of those before, so that a small budget's images are among a larger one's, as with `random`. Probabilities are those of the
nearest class mean. The answers of the method under evaluation decide nothing: all methods on one backbone get the same labels.

Letters in shape comments: E episodes, N ways, S support rows, P images of the pool, F = S + P rows, B labels to be given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import UserError
from ...core.random_streams import Purpose, distinct, words
from ..episodes import EpisodeBatch
from .conditions import Conditions, Strategy
from .typical import most_typical

SCALE = 7.5  # factor on squared distances before the softmax, as soft k-means has it
SMALLEST = 1e-12  # lower bound of a feature's length and of a probability


@dataclass(frozen=True)
class Acquisition:
    """A rule that gives labels to images of a pool.

    Attributes:
        strategy: the rule.
        budget: labels for each episode, B.
        seed: of the task.
    """

    strategy: Strategy
    budget: int
    seed: int

    @classmethod
    def of(cls, conditions: Conditions, seed: int) -> Acquisition | None:
        """The rule that conditions name; None where they name none."""
        if conditions.acquire is None or conditions.budget is None:
            return None
        return cls(conditions.acquire, conditions.budget, seed)

    def labelled(self, batch: EpisodeBatch, features: Callable[[np.ndarray], np.ndarray]) -> EpisodeBatch:
        """Move chosen images of the pool, with their true labels, behind the support.

        Args:
            batch: consecutive episodes without padding; the pool is `unlabelled`, the first image of every class, then the
                second, and so on.
            features: gives the features [R, D] of rows [R].

        Returns:
            The same episodes with S + B support images and P − B images without a label. An episode does not depend on those
            beside it.

        Raises:
            UserError: the episodes are padded.
        """
        if (batch.support_labels < 0).any():
            raise UserError("--acquire: these episodes have unequal numbers of support images; take others")
        ways = batch.classes.shape[1]
        chosen = self._random(batch) if self.strategy == "random" else self._by_features(batch, features)  # [E, B]
        left = np.ones(batch.unlabelled.shape, bool)
        np.put_along_axis(left, chosen, False, axis=1)
        rows = np.take_along_axis(batch.unlabelled, chosen, axis=1)
        return replace(
            batch,
            support=np.concatenate([batch.support, rows], axis=1),
            support_labels=np.concatenate([batch.support_labels, chosen % ways], axis=1),
            unlabelled=batch.unlabelled[left].reshape(len(batch), -1),
        )

    def _random(self, batch: EpisodeBatch) -> np.ndarray:
        pool = np.full(len(batch), batch.unlabelled.shape[1])
        return distinct(self._words(batch, self.budget), pool).T.astype(np.int64)

    def _words(self, batch: EpisodeBatch, count: int) -> np.ndarray:
        """Random words, uint32 [count, E]; the first do not depend on the count."""
        start, stop = int(batch.index[0]), int(batch.index[-1]) + 1
        return np.stack([words(self.seed, Purpose.ACQUISITION, step, start, stop, 1)[:, 0] for step in range(count)])

    def _by_features(self, batch: EpisodeBatch, features: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        ways, shots = batch.classes.shape[1], batch.support.shape[1]
        # Each product alone: its last digits must not depend on the other episodes.
        products = np.stack([products_of(features(rows)) for rows in np.concatenate([batch.support, batch.unlabelled], axis=1)])
        if self.strategy == "typiclust":
            count = shots + self.budget
            return most_typical(products, shots, self.budget, self._words(batch, count)) - shots
        rule, episodes = RULES[self.strategy], np.arange(len(batch))
        labels = np.zeros((len(batch), products.shape[1], ways))  # [E, F, N], one-hot; zeros without a label
        labels[:, :shots] = batch.support_labels[..., None] == np.arange(ways)
        chosen = np.empty((len(batch), self.budget), np.int64)
        for step in range(self.budget):
            worth = np.where(labels.any(axis=2), -np.inf, rule(products, labels))  # [E, F]
            place = worth.argmax(axis=1)
            chosen[:, step] = place - shots
            labels[episodes, place, chosen[:, step] % ways] = 1.0
        return chosen


def products_of(rows: np.ndarray) -> np.ndarray:
    """Dot products of features [F, D], scaled to length 1: float64 [F, F]."""
    rows = rows.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(min=SMALLEST)
    return rows @ rows.T


def probabilities(products: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probability of each class by the softmax of minus the scaled squared distance to its mean: [E, F, N]."""
    weights = labels / labels.sum(axis=1, keepdims=True)  # [E, F, N]
    nearness = np.matmul(products, weights)  # w·z of every mean w with every row z
    lengths = (weights * nearness).sum(axis=1, keepdims=True)  # [E, 1, N]
    scores = SCALE * (2 * nearness - lengths)
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    return scores / scores.sum(axis=2, keepdims=True)


def _margin(products: np.ndarray, labels: np.ndarray) -> np.ndarray:
    ordered = np.sort(probabilities(products, labels), axis=2)
    return ordered[..., -2] - ordered[..., -1]


def _entropy(products: np.ndarray, labels: np.ndarray) -> np.ndarray:
    likely = np.clip(probabilities(products, labels), SMALLEST, None)
    return -(likely * np.log(likely)).sum(axis=2)


def _coreset(products: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the largest cosine to an image with a label, which orders as the distance does."""
    known = np.any(labels, axis=2)
    return -np.where(known[:, None], products, -np.inf).max(axis=2)


RULES = {"margin": _margin, "entropy": _entropy, "coreset": _coreset}  # what an image is worth, [E, F]; the largest is chosen
