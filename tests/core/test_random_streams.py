import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fewbench.core import random_streams
from fewbench.core.random_streams import (
    Purpose,
    _shuffle_by_remembering_swaps,
    _shuffle_whole,
    bounded,
    distinct,
    uniform,
    words,
)

HIGHEST = 2**32 - 1


@given(
    seed=st.integers(0, 2**64 - 1),
    purpose=st.integers(0, 9),
    step=st.integers(0, 50),
    start=st.integers(0, 10**7),
    count=st.integers(1, 20),
    width=st.integers(1, 40),
    data=st.data(),
)
def test_words_of_an_episode_do_not_depend_on_the_slice(seed, purpose, step, start, count, width, data):
    together = words(seed, purpose, step, start, start + count, width)
    i = data.draw(st.integers(0, count - 1))
    assert together.shape == (count, width) and together.dtype == np.uint32
    np.testing.assert_array_equal(words(seed, purpose, step, start + i, start + i + 1, width)[0], together[i])


def test_purposes_are_distinct_and_keep_their_numbers():
    numbers = {name: int(purpose) for name, purpose in Purpose.__members__.items()}
    assert len(set(numbers.values())) == len(numbers)
    assert numbers == {
        "CLASSES": 0, "QUERIES": 1, "SUPPORT": 2, "SHAPE": 3, "SHARES": 4, "EPISODE_SEEDS": 5, "DISJOINT": 6,
        "CORRUPTION": 7, "QUERY_SHARES": 8, "FURTHER_QUERIES": 9, "LABEL_NOISE": 10, "UNLABELLED": 11, "DISTRACTORS": 12,
        "ACQUISITION": 13, "STEP": 64, "ORDER": 65, "DROPOUT": 66, "COMPANIONS": 67, "WEAK_LABELS": 68,
        "PROBE": 32, "VIEWS": 33,
    }  # fmt: skip


def test_whoever_draws_words_takes_the_purpose_from_the_table():
    """Rendered images alone have their own: their seeds are no user's."""
    root, checked = Path(random_streams.__file__).parents[1], 0
    files = [file for folder in ("core", "tasks", "methods", "benchmark") for file in (root / folder).rglob("*.py")]
    for file in files:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "words":
                purpose = ast.unparse(call.args[1])
                named = purpose.removeprefix("Purpose.") in Purpose.__members__
                assert named or purpose == "purpose" or file.name in ("trifeature_rendering.py", "handwritten.py"), (
                    file,
                    purpose,
                )
                checked += 1
    assert checked >= 10


def test_words_are_those_of_numpys_philox_read_in_order():
    raw = np.random.Philox(key=np.array([7, (3 << 32) | 5], dtype=np.uint64)).random_raw(8)
    halves = [half for word in raw.tolist() for half in (word & HIGHEST, word >> 32)]
    assert words(7, 3, 5, 0, 2, 8).tolist() == [halves[:8], halves[8:]]
    assert words(7, 3, 5, 0, 2, 5).tolist() == [halves[:5], halves[8:13]]  # an episode begins with a new block


def test_words_are_frozen():
    digest = hashlib.sha256(words(2**64 - 1, 6, 9, 1000, 1100, 20).astype("<u4").tobytes()).hexdigest()
    assert digest == "930fd3560d1ac8a0d98694aae66347c78e071bc5a1449a95db02daa3fd4615e3"


def test_seed_purpose_and_step_give_other_words():
    drawn = [words(seed, purpose, step, 0, 100, 8) for seed in (0, 1) for purpose in (0, 1) for step in (0, 1)]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert (one == other).mean() < 0.01


def test_words_are_uniform():
    drawn = words(3, 1, 0, 0, 4000, 8)
    counts = np.bincount((drawn >> 24).reshape(-1), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    bits = (drawn[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(bits.mean(axis=(0, 1)) - 0.5).max() < 5 * 0.5 / 32_000**0.5


def test_uniform_is_above_zero_and_at_most_one():
    np.testing.assert_array_equal(uniform(np.array([0, 2**31 - 1, HIGHEST], dtype=np.uint32)), [2.0**-32, 0.5, 1.0])


@given(st.lists(st.integers(0, HIGHEST), min_size=1), st.integers(1, 2**31 - 1))
def test_bounded_is_the_exact_scaling_of_a_word(drawn, bound):
    assert bounded(np.array(drawn, dtype=np.uint32), bound).tolist() == [word * bound // 2**32 for word in drawn]


def shuffle_in_plain_python(column: np.ndarray, size: int, draws: int) -> list[int]:
    deck, drawn = list(range(max(size, draws))), []
    for j in range(draws):
        partner = j + int(column[j]) * max(size - j, 1) // 2**32
        deck[j], deck[partner] = deck[partner], deck[j]
        drawn.append(deck[j])
    return drawn


@given(draws=st.integers(1, 40), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), seed=st.integers(0, 2**32))
def test_distinct_is_a_fisher_yates_shuffle_cut_short(draws, sizes, seed):
    random_words = np.random.default_rng(seed).integers(0, 2**32, size=(draws, len(sizes)), dtype=np.uint32)
    drawn = distinct(random_words, np.array(sizes))
    assert drawn.dtype == np.int32
    for column, size in enumerate(sizes):
        assert drawn[:, column].tolist() == shuffle_in_plain_python(random_words[:, column], size, draws)
        valid = drawn[: min(draws, size), column]
        assert len(set(valid.tolist())) == len(valid) and valid.min() >= 0 and valid.max() < size


@given(draws=st.integers(1, 30), size=st.integers(1, 100), columns=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_both_shuffles_draw_the_same(draws, size, columns, seed):
    size = max(size, draws)
    partners = np.random.default_rng(seed).integers(np.arange(draws)[:, None], size, size=(draws, columns)).astype(np.int32)
    np.testing.assert_array_equal(_shuffle_whole(partners, size), _shuffle_by_remembering_swaps(partners))


@pytest.mark.parametrize("size", [70_000, 2**16, 2**16 + 1])
def test_large_ranges_reach_both_ends(size):
    lowest, highest = np.zeros((300, 1), np.uint32), np.full((300, 1), HIGHEST, np.uint32)
    for draws in (2, 300):  # remembering the swaps, and shuffling the whole range
        assert distinct(lowest[:draws], np.array([size]))[:, 0].tolist() == list(range(draws))
        expected = [size - 1, *range(draws - 1)]
        assert distinct(highest[:draws], np.array([size]))[:, 0].tolist() == expected


def test_many_columns_are_cut_into_chunks_without_a_trace():
    random_words = np.random.default_rng(0).integers(0, 2**32, size=(3, 40_000), dtype=np.uint32)
    drawn = distinct(random_words, np.full(40_000, 100))
    some = np.arange(0, 40_000, 997)
    np.testing.assert_array_equal(distinct(random_words[:, some], np.full(len(some), 100)), drawn[:, some])


def test_every_order_is_as_likely():
    drawn = distinct(words(11, 0, 0, 0, 24_000, 4).T, np.full(24_000, 4))
    _, counts = np.unique(drawn, axis=1, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_nothing_asked_nothing_drawn():
    assert words(0, 0, 0, 5, 5, 3).shape == (0, 3)
    assert distinct(np.empty((3, 0), np.uint32), np.empty(0, int)).shape == (3, 0)
    assert distinct(np.empty((0, 3), np.uint32), np.zeros(3, int)).shape == (0, 3)  # of classes without images left
