"""Semantic task sampling: classes that are near each other share a task (Bennequin et al. 2022, arXiv:2205.05155).

Tasks are drawn one after another, since every draw of a class lowers its later chances. The result is a testbed, a fixed list
of tasks. Unlike the episodes of other samplers, a task is not a pure function of its index.
"""

from __future__ import annotations

from math import comb

import numpy as np

from ..core.errors import UsageError, UserError

MOST_DRAWS = 20  # limit of draws, in units of the number of tasks
LARGEST_WEIGHT = 1e9  # limit of alpha and beta; the nearest or rarest class is then practically certain


def generator(seed: int) -> np.random.Generator:
    """Make the random generator of a testbed.

    Raises:
        UsageError: the seed is not in 0 ≤ seed < 2⁶⁴.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f"--seed {seed}: a seed is a whole number from 0 to 2^64 - 1")
    return np.random.Generator(np.random.Philox(seed))


def sample_classes(
    distances: np.ndarray, *, ways: int, tasks: int, alpha: float, beta: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the classes of distinct tasks.

    2·E tasks are drawn, duplicates are dropped, and E of the rest are chosen at random. Where a split of few classes gives
    fewer than E distinct tasks, drawing continues until there are enough (the paper's splits never need that).

    Args:
        distances: float [C, C], symmetric with a zero diagonal.
        ways: classes a task, N.
        tasks: number of tasks, E.
        alpha: weight of nearness, ≥ 0; 0 ignores the distances. The paper has 0.3830.
        beta: weight of the penalty on classes that were drawn often, ≥ 0. The paper has 100.
        rng: gives N uniform numbers for each draw of a task, and one for each distinct task.

    Returns:
        int64 [E, N], class numbers, ascending within a task; tasks in random order.

    Raises:
        UsageError: a parameter is out of range.
        UserError: the parameters give fewer than E distinct tasks.
    """
    _check(len(distances), ways, tasks, alpha, beta)
    draws = _TaskDraws(distances, ways, alpha, beta)
    drawn = draws.take(2 * tasks, rng)
    distinct = np.unique(drawn, axis=0)
    while len(distinct) < tasks and draws.total < MOST_DRAWS * tasks:
        distinct = np.unique(np.concatenate([distinct, draws.take(tasks, rng)]), axis=0)
    if len(distinct) < tasks:
        raise UserError(
            f"--alpha {alpha:g} gives only {len(distinct)} distinct tasks in {draws.total} draws from {len(distances)} "
            f"classes, not {tasks}; ask for fewer tasks or a smaller --alpha"
        )
    # Ranks of uniform numbers are a shuffle that is the same in every version of NumPy, unlike Generator.permutation.
    return distinct[rng.random(len(distinct)).argsort(kind="stable")[:tasks]]


def _check(classes: int, ways: int, tasks: int, alpha: float, beta: float) -> None:
    for option, value in (("--alpha", alpha), ("--beta", beta)):
        if not 0 <= value <= LARGEST_WEIGHT:
            raise UsageError(f"{option} {value:g}: from 0 to {LARGEST_WEIGHT:g}")
    if ways < 2:
        raise UsageError(f"--ways {ways}: at least 2")
    if ways > classes:
        raise UsageError(f"--ways {ways}: this split has only {classes} classes; take fewer ways")
    if tasks < 1:
        raise UsageError(f"--tasks {tasks}: at least 1")
    if tasks > comb(classes, ways):
        raise UsageError(f"--tasks {tasks}: {classes} classes make only {comb(classes, ways)} different {ways}-way tasks")


class _TaskDraws:
    """The sequence of tasks drawn from a split, with counts of how often each class was drawn.

    The potentials of the paper, W = exp(−αD) with zero diagonal and penalty = exp(−βn / max n), are kept as logarithms and
    scaled to a largest of 1 before each draw, so that they cannot all underflow, whatever α and β are.
    """

    def __init__(self, distances: np.ndarray, ways: int, alpha: float, beta: float) -> None:
        self.log_weights = -alpha * distances  # [C, C]
        np.fill_diagonal(self.log_weights, -np.inf)  # a task has no class twice
        self.ways = ways
        self.beta = beta
        self.counts = np.ones(len(distances))  # [C]
        self.total = 0

    def take(self, tasks: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the next tasks, int64 [E, N], ascending within a task."""
        uniforms = rng.random((tasks, self.ways))
        drawn = np.empty((tasks, self.ways), dtype=np.int64)
        for task in range(tasks):
            log_potential = -self.beta * self.counts / self.counts.max()  # [C]
            for step in range(self.ways):
                drawn[task, step] = chosen = _pick(log_potential, uniforms[task, step])
                log_potential = log_potential + self.log_weights[chosen]
            self.counts[drawn[task]] += 1
        self.total += tasks
        return np.sort(drawn, axis=1)


def _pick(log_potential: np.ndarray, uniform: float) -> int:
    """The class at which the cumulated potential passes a uniform number in [0, 1)."""
    cumulated = np.exp(log_potential - log_potential.max()).cumsum()
    return int(cumulated.searchsorted(uniform * cumulated[-1], side="right"))
