from dataclasses import replace

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.conditions.acquisition import RULES, SCALE, Acquisition, probabilities, products_of
from fewbench.tasks.conditions.conditions import Conditions, Strategy
from fewbench.tasks.conditions.sampler import ConditionedSampler
from fewbench.tasks.conditions.typical import k_means, most_typical
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.samplers import UniformSampler

OFFSETS = np.arange(31) * 60
FEATURES = np.random.default_rng(1).normal(size=(1800, 12)) + 1.5 * np.random.default_rng(2).normal(size=(30, 12)).repeat(60, 0)
STRATEGIES: list[Strategy] = ["random", "margin", "entropy", "coreset", "typiclust"]


def pool(start: int = 0, stop: int = 12, shots: int = 1, unlabelled: int = 8) -> EpisodeBatch:
    sampler = UniformSampler(OFFSETS, 3, 5, shots, 6)
    return ConditionedSampler.around(sampler, Conditions(unlabelled=unlabelled)).draw(start, stop)


def labelled(batch: EpisodeBatch, strategy: Strategy, budget: int = 7, seed: int = 3) -> EpisodeBatch:
    return Acquisition(strategy, budget, seed).labelled(batch, lambda rows: FEATURES[rows])


def one(rows: list[list[float]], support: int, strategy: Strategy, budget: int) -> list[int]:
    """The places in the pool that are chosen in a two-way episode of these features, the support first."""
    features, nothing = np.array(rows), np.zeros((1, 0), np.int64)
    rows_of = np.arange(len(rows))[None]
    labels = np.arange(support)[None] % 2
    batch = EpisodeBatch(
        rows_of[:, :support], labels, nothing, nothing, np.array([[0, 1]]), np.zeros(1, np.int64),
        unlabelled=rows_of[:, support:],
    )  # fmt: skip
    found = Acquisition(strategy, budget, 0).labelled(batch, lambda asked: features[asked])
    return (found.support[0, support:] - support).tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_labels_are_those_of_the_classes_and_every_image_stays_in_the_episode(strategy: Strategy):
    before = pool()
    after = labelled(before, strategy)
    assert (after.support[:, :5] == before.support).all() and after.support.shape == (12, 12)
    assert (np.take_along_axis(after.classes, after.support_labels, axis=1) == after.support // 60).all()
    for name in ("query", "query_labels", "classes", "index", "seeds"):
        assert (getattr(after, name) == getattr(before, name)).all()
    together = np.concatenate([after.support, after.unlabelled], axis=1)
    assert (np.sort(together, axis=1) == np.sort(np.concatenate([before.support, before.unlabelled], axis=1), axis=1)).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_episode_does_not_depend_on_those_beside_it(strategy: Strategy):
    whole = labelled(pool(), strategy)
    for batch in (pool(4, 5), pool(4, 9)):
        alone = labelled(batch, strategy)
        assert alone.as_bytes() == whole[4 : 4 + len(batch)].as_bytes()


@pytest.mark.parametrize("strategy", ["random", "margin", "entropy", "coreset"])
def test_a_small_budget_is_the_beginning_of_a_larger_one(strategy: Strategy):
    few, many = labelled(pool(), strategy, 3), labelled(pool(), strategy, 9)
    assert (few.support == many.support[:, :8]).all()


def test_random_labels_depend_on_the_seed_and_nothing_else_does_but_the_starts_of_clusters():
    batch = pool()
    for strategy in STRATEGIES:
        same = labelled(batch, strategy).as_bytes() == labelled(batch, strategy, seed=4).as_bytes()
        assert same == (strategy in ("margin", "entropy", "coreset"))


def test_every_image_can_get_a_label():
    for strategy in STRATEGIES:
        after = labelled(pool(unlabelled=2), strategy, budget=10)
        assert after.unlabelled.shape == (12, 0)


@pytest.mark.parametrize("strategy", ["margin", "entropy"])
def test_the_least_certain_image_comes_first_and_its_label_counts_for_the_next(strategy: Strategy):
    axes = [[1.0, 0.0], [0.0, 1.0]]
    between, near, nearer = [1.0, 0.98], [1.0, 0.8], [1.0, 0.2]
    assert one([*axes, nearer, between, near, [0.1, 1.0]], 2, strategy, 1) == [1]
    # With the label of class 1 for the image between, that class's mean moves towards it: the next one is as near to both.
    assert one([*axes, nearer, between, near, [0.1, 1.0]], 2, strategy, 2) == [1, 2]


def test_margin_and_entropy_differ_where_a_third_class_is_likely():
    of_two, of_three = [1.0, 1.0, 0.0], [1.0, 0.9, 0.9]
    axes = np.eye(3).tolist()
    labels = np.concatenate([np.eye(3), np.zeros((2, 3))])[None]
    products = products_of(np.array([*axes, of_two, of_three]))[None]
    worth = {name: RULES[name](products, labels)[0, 3:] for name in ("margin", "entropy")}
    assert worth["margin"].argmax() == 0 and worth["entropy"].argmax() == 1


def test_coreset_takes_what_is_farthest_from_every_label():
    assert one([[1, 0], [1, 0.1], [-1, 0.1], [0.2, 1], [1, 0.05]], 2, "coreset", 2) == [0, 1]


def test_probabilities_are_those_of_the_nearest_class_mean():
    rows = np.random.default_rng(0).normal(size=(7, 4))
    labels = np.zeros((1, 7, 2))
    labels[0, [0, 1, 2], [0, 1, 0]] = 1
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.stack([unit[[0, 2]].mean(axis=0), unit[1]])
    scores = np.exp(-SCALE * ((unit[:, None] - means) ** 2).sum(axis=2))
    assert np.allclose(probabilities(products_of(rows)[None], labels)[0], scores / scores.sum(axis=1, keepdims=True))


def groups(sizes: list[int], width: int = 6) -> np.ndarray:
    """Products of tight groups of unit vectors, one axis each."""
    random = np.random.default_rng(5)
    rows = np.eye(width)[np.repeat(np.arange(len(sizes)), sizes)] + 0.02 * random.normal(size=(sum(sizes), width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows @ rows.T)[None]


def test_k_means_finds_groups():
    words = np.random.default_rng(0).integers(2**32, size=(3, 1), dtype=np.uint32)
    clusters = [k_means(groups([4, 5, 6]), words)[0] for words in (words, words[::-1])]
    for found in clusters:
        assert [len(set(found[part].tolist())) for part in (slice(0, 4), slice(4, 9), slice(9, 15))] == [1, 1, 1]
        assert len(set(found.tolist())) == 3


def test_typiclust_takes_the_centre_of_the_largest_group_without_a_label_first():
    products = groups([6, 8, 7, 3])  # the first image of the first group has a label
    words = np.random.default_rng(2).integers(2**32, size=(4, 1), dtype=np.uint32)
    assert len(set(k_means(products, words)[0].tolist())) == 4
    chosen = most_typical(products, 1, 3, words)[0].tolist()
    groups_of = np.repeat(np.arange(4), [6, 8, 7, 3])
    assert groups_of[chosen].tolist() == [1, 2, 0]  # by size; then the one with a label; the smallest waits
    inside = np.arange(6, 14)
    distances = np.sqrt(np.clip(2 - 2 * products[0][np.ix_(inside, inside)], 0, None))
    assert chosen[0] == inside[np.sort(distances, axis=1)[:, 1:5].mean(axis=1).argmin()]


def test_words_of_an_acquisition():
    assert str(Conditions(unlabelled=20, acquire="margin", budget=5)) == "unlabelled 20, margin 5"
    assert Acquisition.of(Conditions(unlabelled=20), 0) is None
    assert Acquisition.of(Conditions(unlabelled=20, acquire="coreset", budget=5), 2) == Acquisition("coreset", 5, 2)


def test_the_episode_before_labels_is_the_clean_one():
    clean = UniformSampler(OFFSETS, 3, 5, 1, 6)
    acquiring = ConditionedSampler.around(clean, Conditions(unlabelled=8, acquire="random", budget=5))
    plain, drawn = clean.draw(0, 12), acquiring.draw(0, 12)
    assert replace(drawn, unlabelled=plain.unlabelled).as_bytes() == plain.as_bytes()
    assert acquiring.disjoint_episodes() is None


def test_padded_episodes_are_refused():
    batch = pool()
    with pytest.raises(UserError, match="unequal numbers of support images"):
        labelled(replace(batch, support_labels=np.where(batch.support_labels == 4, -1, batch.support_labels)), "coreset")
