"""Meta-Dataset's sampler draws by the published rule."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given, settings

from fewbench.core.random_streams import Purpose, distinct, words
from fewbench.tasks.episodes import ABSENT
from fewbench.tasks.meta_dataset import MetaDatasetSampler

from .conftest import meta_dataset_samplers, p_value


def meta_dataset_episode(sampler: MetaDatasetSampler, i: int) -> tuple[list[int], list[int], int]:
    """Classes, shots and queries of episode i by the formulas of Triantafillou et al. 2020, one number at a time.

    Written for this test: exact fractions where the sampler has floats, and loops where it has arrays.
    """
    sizes = [int(size) for size in sampler.sizes]
    most = min(sampler.max_ways, len(sizes))

    def word(purpose: int, width: int, place: int) -> int:
        return int(words(sampler.seed, purpose, 0, i, i + 1, width)[0, place])

    ways = 5 + word(Purpose.SHAPE, 2, 0) * (most - 4) // 2**32  # U{5 … most}
    order = distinct(words(sampler.seed, Purpose.CLASSES, 0, i, i + 1, most).T, np.array([len(sizes)]))[:, 0]
    classes = [int(c) for c in order[:ways]]
    n = [sizes[c] for c in classes]
    q = min(sampler.max_queries, min(size // 2 for size in n))
    beta = Fraction(word(Purpose.SHAPE, 2, 1) + 1, 2**32)  # U(0, 1]
    support = min(sampler.max_support, sum(math.ceil(beta * min(sampler.max_support_per_class, size - q)) for size in n))
    log_half, log_two = math.log(0.5), math.log(2)
    weights = [
        size * math.exp(log_half + (word(Purpose.SHARES, most, place) + 1) / 2**32 * (log_two - log_half))
        for place, size in enumerate(n)
    ]
    shots = [
        min(math.floor(weight / math.fsum(weights) * (support - ways)) + 1, size - q)
        for weight, size in zip(weights, n, strict=True)
    ]
    return classes, shots, q


@settings(max_examples=60)
@given(meta_dataset_samplers())
def test_meta_dataset_episodes_follow_the_published_rule(sampler: MetaDatasetSampler):
    batch = sampler.draw(10, 18)
    for row, i in enumerate(range(10, 18)):
        classes, shots, queries = meta_dataset_episode(sampler, i)
        assert batch.classes[row].tolist() == classes + [ABSENT] * (batch.classes.shape[1] - len(classes))
        drawn = Counter(batch.support_labels[row][batch.support_labels[row] != ABSENT].tolist())
        assert drawn == dict(enumerate(shots))
        asked = Counter(batch.query_labels[row][batch.query_labels[row] != ABSENT].tolist())
        assert asked == dict.fromkeys(range(len(classes)), queries)


def test_meta_dataset_ways_are_uniform_and_limits_hold():
    sampler = MetaDatasetSampler(np.arange(13) * 120, 0)
    batch = sampler.draw(0, 2000)
    assert p_value(np.unique((batch.classes != ABSENT).sum(axis=1), return_counts=True)[1]) > 1e-3
    assert set(np.unique((batch.classes != ABSENT).sum(axis=1))) == set(range(5, 13))
    support = (batch.support_labels != ABSENT).sum(axis=1)
    assert 490 < support.max() <= 500 and support.min() < 30  # rounding down leaves some of the 500
    assert ((batch.query_labels != ABSENT).sum(axis=1) == 10 * (batch.classes != ABSENT).sum(axis=1)).all()
    rows = np.concatenate([batch.support[batch.support_labels != ABSENT], batch.query[batch.query_labels != ABSENT]])
    assert p_value(np.bincount(rows % 120, minlength=120)) > 1e-3
    assert sampler.disjoint_episodes() is None


def test_trimming_drops_only_padding():
    sampler = MetaDatasetSampler(np.arange(13) * 40, 1)
    batch = sampler.draw(0, 6)
    trimmed = batch.trimmed()
    assert trimmed.support.shape[1] == (batch.support_labels != ABSENT).sum(axis=1).max() < batch.support.shape[1]
    assert trimmed.classes.shape[1] == (batch.classes != ABSENT).sum(axis=1).max()
    for name in ("support", "query"):
        there = getattr(batch, f"{name}_labels") != ABSENT
        still = getattr(trimmed, f"{name}_labels") != ABSENT
        np.testing.assert_array_equal(getattr(batch, name)[there], getattr(trimmed, name)[still])
