import numpy as np
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks.class_lists import listed_classes, listed_taxonomy
from fewbench.tasks.distances import coarsity, jiang_conrath
from fewbench.tasks.semantic import generator, sample_classes


@pytest.fixture(scope="module")
def tiered() -> np.ndarray:
    classes = [listed.class_id for listed in listed_classes("tiered-imagenet", "test")]
    return jiang_conrath(listed_taxonomy("tiered-imagenet", "test"), classes, np.full(160, 1300))


def random_distances(classes: int) -> np.ndarray:
    positions = np.random.default_rng(5).normal(size=(classes, 3))
    return np.abs(positions[:, None] - positions[None]).sum(axis=2)


def drawn_as_defined(
    distances: np.ndarray, ways: int, tasks: int, alpha: float, beta: float, seed: int
) -> set[tuple[int, ...]]:
    """The distinct tasks among the first 2T, drawn with the potentials of the paper as they are written there."""
    weights = np.exp(-alpha * distances) * (1 - np.eye(len(distances)))
    counts = np.ones(len(distances))
    found = set()
    for uniforms in generator(seed).random((2 * tasks, ways)):
        penalty = np.exp(-beta * counts / counts.max())
        potential, task = penalty, []
        for uniform in uniforms:
            probabilities = potential / potential.sum()
            task.append(int(np.searchsorted(probabilities.cumsum(), uniform)))
            potential = potential * weights[task[-1]]
        counts[task] += 1
        found.add(tuple(sorted(task)))
    return found


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.7, 0.0), (0.4, 3.0)])
def test_tasks_are_those_of_the_definition(alpha: float, beta: float):
    distances = random_distances(30)
    expected = drawn_as_defined(distances, 4, 500, alpha, beta, seed=3)
    tasks = sample_classes(distances, ways=4, tasks=500, alpha=alpha, beta=beta, rng=generator(3))
    drawn = set(map(tuple, tasks.tolist()))
    assert len(drawn) == 500 and drawn <= expected


def test_semantic_tasks_of_tiered_imagenet_have_the_published_coarsity(tiered: np.ndarray):
    tasks = sample_classes(tiered, ways=5, tasks=5000, alpha=0.3830, beta=100, rng=generator(0))
    assert tasks.shape == (5000, 5)
    assert coarsity(tiered, tasks).mean() == pytest.approx(54, abs=2)
    assert (np.diff(tasks, axis=1) > 0).all()
    assert len(np.unique(tasks, axis=0)) == 5000


def test_beta_balances_the_classes():
    def most_to_least(beta: float) -> float:
        tasks = sample_classes(random_distances(30), ways=4, tasks=1000, alpha=1, beta=beta, rng=generator(1))
        counts = np.bincount(tasks.reshape(-1), minlength=30)
        return float(counts.max() / counts.min())

    assert most_to_least(0) > 5
    assert most_to_least(1000) < 2


def test_without_alpha_tasks_are_as_coarse_as_uniform_ones(tiered: np.ndarray):
    tasks = sample_classes(tiered, ways=5, tasks=2000, alpha=0, beta=100, rng=generator(1))
    pairs = tiered[np.triu_indices(160, 1)]
    assert coarsity(tiered, tasks).mean() == pytest.approx((pairs**2).mean(), rel=0.02)


def test_the_seed_decides():
    distances = random_distances(20)
    first, again, other = (
        sample_classes(distances, ways=3, tasks=50, alpha=1, beta=10, rng=generator(seed)) for seed in (7, 7, 8)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(("alpha", "beta"), [(1e9, 0.0), (0.0, 1e9), (1e9, 1e9)])
def test_potentials_do_not_vanish_however_large_the_parameters(alpha: float, beta: float):
    tasks = sample_classes(10 + random_distances(12), ways=4, tasks=3, alpha=alpha, beta=beta, rng=generator(0))
    assert (np.diff(tasks, axis=1) > 0).all()


def test_all_tasks_of_a_small_split_are_found():
    tasks = sample_classes(random_distances(6), ways=3, tasks=20, alpha=0.5, beta=1, rng=generator(0))
    assert len(np.unique(tasks, axis=0)) == 20  # 6 choose 3, more than 40 draws are likely to give


def test_too_few_distinct_tasks_are_reported():
    with pytest.raises(UserError, match=r"gives only \d+ distinct tasks in \d+ draws"):
        sample_classes(random_distances(30), ways=3, tasks=1000, alpha=1e6, beta=0, rng=generator(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -0.1}, "--alpha -0.1"),
        ({"alpha": float("nan")}, "--alpha nan"),
        ({"beta": -1}, "--beta -1"),
        ({"beta": float("inf")}, "--beta inf"),
        ({"ways": 1}, "--ways 1"),
        ({"ways": 7}, "only 6 classes"),
        ({"tasks": 0}, "--tasks 0"),
        ({"tasks": 16}, "make only 15 different 2-way tasks"),
    ],
)
def test_parameters_out_of_range_are_refused(change: dict[str, float], message: str):
    parameters = {"ways": 2, "tasks": 5, "alpha": 1.0, "beta": 1.0, **change}
    with pytest.raises(UsageError, match=message):
        sample_classes(random_distances(6), **parameters, rng=generator(0))  # pyright: ignore[reportArgumentType]
