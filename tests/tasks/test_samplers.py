from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbench.core.errors import UsageError
from fewbench.tasks.episodes import ABSENT, EpisodeBatch, digest
from fewbench.tasks.meta_dataset import MetaDatasetSampler
from fewbench.tasks.samplers import CHUNK, Sampler, UniformSampler

from .conftest import SEEDS, meta_dataset_samplers, offsets_of, p_value


@st.composite
def uniform_samplers(draw) -> UniformSampler:
    ways = draw(st.integers(2, 7))
    shots, queries = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(shots + queries, 40), min_size=ways, max_size=15))
    return UniformSampler(offsets_of(sizes), draw(SEEDS), ways, shots, queries)


SAMPLERS = st.one_of(uniform_samplers(), meta_dataset_samplers())


def same(one: EpisodeBatch, other: EpisodeBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def check_sound(batch: EpisodeBatch, offsets: np.ndarray) -> None:
    """Classes are distinct, rows are of the class their label says, and no row is used twice in an episode."""
    of_row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    for i in range(len(batch)):
        classes = batch.classes[i][batch.classes[i] != ABSENT]
        assert len(set(classes.tolist())) == len(classes)
        rows = []
        for part, labels in ((batch.support[i], batch.support_labels[i]), (batch.query[i], batch.query_labels[i])):
            there = labels != ABSENT
            assert set(labels[there].tolist()) == set(range(len(classes)))
            np.testing.assert_array_equal(of_row[part[there]], classes[labels[there]])
            assert (part[~there] == 0).all()
            rows += part[there].tolist()
        assert len(set(rows)) == len(rows)


@given(SAMPLERS, st.integers(0, 10**6))
def test_episodes_are_sound(sampler: Sampler, start: int):
    batch = sampler.draw(start, start + 8)
    check_sound(batch, sampler.offsets)
    assert batch.index.tolist() == list(range(start, start + 8))
    assert {array.dtype for array in vars(batch).values()} == {np.dtype(np.int64)}


@given(SAMPLERS, st.integers(0, 10**6), st.integers(1, 20), st.data())
def test_an_episode_does_not_depend_on_the_slice_it_is_drawn_in(sampler: Sampler, start: int, count: int, data):
    together = sampler.draw(start, start + count)
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first + 1, count))
    assert same(sampler.draw(start + first, start + last), together[first:last])
    chosen = np.array([first, count - 1])
    np.testing.assert_array_equal(sampler.episode_seeds(start + chosen), sampler.episode_seeds(together.index)[chosen])


@pytest.mark.parametrize(
    "sampler",
    [UniformSampler(np.arange(11) * 20, 3, 5, 1, 15), MetaDatasetSampler(np.arange(8) * 12, 3, max_support=60)],
    ids=lambda sampler: sampler.name,
)
def test_many_episodes_are_those_of_any_batch_size(sampler: Sampler):
    stop = CHUNK + 130
    whole = digest([sampler.draw(0, stop)])
    for size in (64, 1000):
        assert digest(sampler.draw(i, min(i + size, stop)) for i in range(0, stop, size)) == whole
    assert len(sampler.draw(7, 7)) == 0


@given(uniform_samplers(), st.integers(0, 1000))
def test_support_sets_nest_in_shots_and_queries_stay(sampler: UniformSampler, start: int):
    several = sampler.draw(start, start + 5)
    one = replace(sampler, shots=1).draw(start, start + 5)
    np.testing.assert_array_equal(one.support, several.support[:, : sampler.ways])
    np.testing.assert_array_equal(one.query, several.query)
    np.testing.assert_array_equal(one.classes, several.classes)


def test_uniform_episodes_have_the_shape_asked_for():
    batch = UniformSampler(np.arange(9) * 30, 0, 4, 3, 6).draw(0, 10)
    assert batch.support.shape == batch.support_labels.shape == (10, 12)
    assert batch.query.shape == batch.query_labels.shape == (10, 24)
    assert batch.classes.shape == (10, 4)
    assert batch.support_labels[3].tolist() == [0, 1, 2, 3] * 3
    assert Counter(batch.query_labels[3].tolist()) == dict.fromkeys(range(4), 6)


def test_seeds_give_other_episodes_and_other_seeds():
    one, other = (UniformSampler(np.arange(101) * 30, seed, 5, 1, 15) for seed in (0, 1))
    assert (one.draw(0, 200).support == other.draw(0, 200).support).mean() < 0.01
    index = np.arange(1000)
    seeds = np.concatenate([one.episode_seeds(index), other.episode_seeds(index)])
    assert len(set(seeds.tolist())) == 2000
    assert (seeds >= 0).all()


def test_episode_seeds_are_given_in_any_order():
    sampler = UniformSampler(np.arange(11) * 20, 0, 5, 1, 15)
    in_order = sampler.episode_seeds(np.arange(50))
    np.testing.assert_array_equal(sampler.episode_seeds(np.array([40, 3, 3])), in_order[[40, 3, 3]])
    assert sampler.episode_seeds(np.empty(0, int)).shape == (0,)


def test_classes_and_images_are_drawn_uniformly():
    sampler = UniformSampler(np.arange(13) * 20, 5, 4, 2, 3)
    batch = sampler.draw(0, 6000)
    for place in range(4):  # whatever its label in the episode
        assert p_value(np.bincount(batch.classes[:, place], minlength=12)) > 1e-3
    pairs = np.sort(batch.classes[:, :2], axis=1)
    assert p_value(np.unique(pairs, axis=0, return_counts=True)[1]) > 1e-3
    for rows in (batch.support[:, :4], batch.support[:, 4:], batch.query):
        assert p_value(np.bincount(rows.reshape(-1), minlength=240)) > 1e-3


def test_images_of_classes_of_unequal_sizes_are_drawn_uniformly_within_each():
    sizes = [6, 11, 40, 23]
    batch = UniformSampler(offsets_of(sizes), 2, 3, 2, 3).draw(0, 4000)
    counts = np.bincount(np.concatenate([batch.support, batch.query], axis=1).reshape(-1), minlength=sum(sizes))
    for first, last in zip(offsets_of(sizes)[:-1], offsets_of(sizes)[1:], strict=True):
        # Images are drawn without replacement, which makes counts more even than χ² expects, never less.
        assert p_value(counts[first:last]) > 1e-3


def disjoint(sampler: Sampler) -> EpisodeBatch:
    batch = sampler.disjoint_episodes()
    assert batch is not None
    return batch


@given(uniform_samplers())
def test_disjoint_episodes_use_no_image_twice(sampler: UniformSampler):
    batch = disjoint(sampler)
    check_sound(batch, sampler.offsets)
    rows = np.concatenate([batch.support, batch.query], axis=1).reshape(-1)
    assert len(set(rows.tolist())) == len(rows)
    hands = np.sort(sampler.sizes // (sampler.shots + sampler.queries))
    expected = sum(int((hands > round_).sum()) // sampler.ways for round_ in range(hands[-1]))
    assert len(batch) == expected >= 1


def test_disjoint_episodes_take_images_and_partners_at_random():
    sampler = UniformSampler(np.arange(101) * 20, 0, 5, 1, 9)
    batch, other = disjoint(sampler), disjoint(replace(sampler, seed=1))
    assert len(batch) == 40
    assert p_value(np.bincount(batch.support.reshape(-1) % 20, minlength=20)) > 1e-3
    assert (np.sort(batch.classes, axis=1) != np.sort(other.classes, axis=1)).any(axis=1).all()
    assert (np.diff(batch.classes[:20].reshape(-1)) < 0).sum() > 30  # not in the order of the split


FROZEN = [
    (UniformSampler(np.arange(201) * 40, 0, 5, 1, 15), "b212f6f5bbb3c82a5622c3c28b134f11dd21387ad75270dafa403e8c887bb60f"),
    (UniformSampler(np.arange(201) * 40, 0, 5, 5, 15), "d170e9cb699e2ba6ee076a91cd7f8e99fd859198e13cbf408453f6c45e67d6ec"),
    (UniformSampler(np.arange(1693) * 20, 7, 20, 1, 15), "0beefc055030b0cb6ffee88ac07831a6d25a9745dbdf6e61351a373c4d329317"),
    (
        UniformSampler(offsets_of([600, 20, 71_000]), 2**64 - 1, 2, 3, 4),
        "2b77a559a80ec025c678dd773dbdc5bf9562013350f47dbc1311d64170cf8ed3",
    ),
    (
        MetaDatasetSampler(offsets_of(list(range(20, 80))), 0),
        "84963aa8a2d520676421dce6219d5ccc47053ac38878952059e43a5cf6d0ed94",
    ),
]


@pytest.mark.parametrize(("sampler", "expected"), FROZEN, ids=lambda value: getattr(value, "name", None))
def test_published_episodes_do_not_change(sampler: Sampler, expected: str):
    assert digest([sampler.draw(0, 100)]) == expected


def test_published_disjoint_episodes_and_seeds_do_not_change():
    sampler = UniformSampler(np.arange(201) * 40, 0, 5, 1, 15)
    batch = disjoint(sampler)
    assert (len(batch), digest([batch])) == (80, "728c6abc925124338d99644df5ea505172e6027a53e806a6bc093a0ef8a3f49b")
    assert sampler.episode_seeds(np.arange(3)).tolist() == [1119339696185616825, 7904160692751368746, 4513922439642731518]


ERRORS: list[tuple[type[Sampler], list[int], dict[str, Any], str]] = [
    (UniformSampler, [20] * 9, {"ways": 10}, r"--ways 10: this split has only 9 classes; take fewer ways"),
    (UniformSampler, [20] * 9, {"ways": 1}, r"--ways 1: at least 2"),
    (UniformSampler, [20] * 9, {"shots": 0}, r"--shots 0: at least 1"),
    (UniformSampler, [20] * 9, {"queries": 0}, r"--queries 0: at least 1"),
    (UniformSampler, [40, 20, 40, 40, 40], {"shots": 6}, r"--shots 6 and --queries 15 need 21 images .* smallest .* has 20"),
    (UniformSampler, [20] * 9, {"seed": -1}, r"--seed -1: from 0 to 2\^64 - 1"),
    (MetaDatasetSampler, [20] * 9, {"seed": 2**64}, r"--seed 18446744073709551616: from 0 to"),
    (MetaDatasetSampler, [20] * 4, {}, r"--sampler meta-dataset: needs 5 classes, this split has 4"),
    (MetaDatasetSampler, [20, 1, 20, 20, 20], {}, r"needs two images a class, the smallest class of this split has one"),
    (MetaDatasetSampler, [20] * 9, {"max_ways": 4}, r"sampler meta-dataset: max_ways=4: at least 5"),
    (MetaDatasetSampler, [20] * 9, {"max_support": 49}, r"max_support=49: at least max_ways=50"),
    (MetaDatasetSampler, [20] * 9, {"max_support_per_class": 0}, r"max_support_per_class=0: at least 1"),
    (MetaDatasetSampler, [20] * 9, {"max_queries": 0}, r"max_queries=0: at least 1"),
]


@pytest.mark.parametrize(("cls", "sizes", "change", "message"), ERRORS)
def test_what_cannot_be_drawn_is_one_line_that_names_the_option(cls, sizes, change, message):
    usual = {"seed": 0} | ({"ways": 5, "shots": 1, "queries": 15} if cls is UniformSampler else {})
    with pytest.raises(UsageError, match=message) as caught:
        cls(offsets_of(sizes), **(usual | change))
    assert "\n" not in str(caught.value)


def test_the_whole_of_a_class_and_of_a_split_can_be_used():
    batch = UniformSampler(offsets_of([20] * 5), 0, 5, 5, 15).draw(0, 3)
    for i in range(3):
        assert sorted([*batch.support[i], *batch.query[i]]) == list(range(100))
