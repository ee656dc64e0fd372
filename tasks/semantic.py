"""Semantic task sampling: classes that are near each other fall into the same task (Bennequin et al. 2022, arXiv:2205.05155).

Sequential over tasks, because how often a class was drawn lowers its later chances. So it makes a testbed, a fixed list of
tasks, and is the one sampler that is no pure function of the episode's index.
"""

from __future__ import annotations

from math import comb

import numpy as np

from ..core.errors import UsageError, UserError

MOST_DRAWS = 20  # times the tasks asked for
LARGEST_WEIGHT = 1e9  # of distances and counts; the nearest or rarest class is then as good as certain


def generator(seed: int) -> np.random.Generator:
    """The generator of everything that a testbed draws.

    Raises:
        UsageError: not 0 ≤ seed < 2⁶⁴.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f"--seed {seed}: a seed is a whole number from 0 to 2^64 - 1")
    return np.random.Generator(np.random.Philox(seed))


def sample_classes(
    distances: np.ndarray, *, ways: int, tasks: int, alpha: float, beta: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the classes of distinct tasks.

    Twice as many tasks as asked for are drawn, duplicates are dropped and the rest is thinned at random. Where a split of
    few classes gives fewer distinct tasks than asked for, the drawing goes on until there are enough (the paper's splits
    never need that).

    Args:
        distances: float [C, C], symmetric with a zero diagonal.
        ways: classes a task, N.
        tasks: number of tasks, E.
        alpha: how much nearness counts, ≥ 0; 0 ignores the distances. The paper has 0.3830.
        beta: how much a class that was drawn often is avoided, ≥ 0. The paper has 100.
        rng: used up by as many uniform numbers as there are draws, and one more for each distinct task.

    Returns:
        int64 [E, N], class numbers, ascending within a task; tasks in random order.

    Raises:
        UsageError: a parameter is out of range.
        UserError: the parameters give fewer distinct tasks than asked for.
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
    """The sequence of tasks drawn from a split, with the counts that feed back.

    The potentials of the paper, W = exp(−αD) with zero diagonal and penalty = exp(−βn / max n), are kept as logarithms and
    scaled to a largest of 1 before each draw, so that no α or β can make all of them vanish.
    """

    def __init__(self, distances: np.ndarray, ways: int, alpha: float, beta: float) -> None:
        self.log_weights = -alpha * distances  # [C, C]
        np.fill_diagonal(self.log_weights, -np.inf)  # no class twice
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
