import numpy as np
import pytest
from scipy import stats

from fewbench.benchmark.records.ranking import better_than, compare_records, rank_ranges
from fewbench.core.errors import UserError

# A difference of m ± 0.1 by turns over n episodes has s = 0.1·√(n/(n − 1)), so that t = m·√(n − 1)/0.1.
N = 100
WAVE = np.resize([0.1, -0.1], N)
BARELY = stats.t.isf(0.015, N - 1) * 0.1 / (N - 1) ** 0.5  # the m of a two-sided p of 0.03


def ranks(*accuracies, level=0.95):
    return [str(rank) for rank in rank_ranges(better_than([np.asarray(a, dtype=float) for a in accuracies], level))]


def test_equal_methods_share_all_ranks():
    assert ranks([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], [0.5, 0.6, 0.7]) == ["1–3", "1–3", "1–3"]


def test_methods_a_constant_apart_are_ranked_without_doubt_in_the_order_given():
    base = np.array([0.5, 0.625, 0.75])
    assert ranks(base, base + 0.125, base - 0.125) == ["2", "1", "3"]


def test_one_method_is_first_and_no_method_is_no_table():
    assert ranks([0.5, 0.5]) == ["1"]
    assert ranks() == []


def test_one_common_episode_ranks_nothing():
    assert ranks([0.9], [0.1, 0.2]) == ["1–2", "1–2"]


def test_who_is_better_than_whom():
    base = np.array([0.5, 0.625, 0.75])
    assert better_than([base, base + 0.125, base]).tolist() == [[False] * 3, [True, False, True], [False] * 3]


def test_neighbours_share_ranks_where_only_the_ends_are_told_apart():
    # The middle one wavers around both (m = 0.01: t = 0.995, p = 0.32); the ends are a constant apart.
    best, middle, last = np.full(N, 0.52), 0.51 + WAVE, np.full(N, 0.50)
    assert ranks(best, middle, last) == ["1–2", "1–3", "2–3"]


def test_holm_over_all_pairs_decides_not_the_single_tests():
    # Two methods are told apart at p = 0.03, but not where four more equal methods make theirs one pair of fifteen.
    better, worse = 0.5 + BARELY + WAVE, np.full(N, 0.5)
    assert ranks(better, worse) == ["1", "2"]
    assert ranks(better, worse, worse, worse, worse, worse) == ["1–6"] * 6


def test_level_decides_what_is_significant():
    assert ranks(0.5 + BARELY + WAVE, np.full(N, 0.5), level=0.98) == ["1–2", "1–2"]


def test_pairs_are_compared_on_their_common_prefix():
    # On all four episodes the first would lose; on the two common ones it wins by a constant.
    assert ranks([0.75, 0.5, 0.0, 0.0], [0.5, 0.25]) == ["1", "2"]


def test_thirty_methods_over_ten_thousand_episodes_are_ranked():
    generator = np.random.default_rng(0)
    accuracies = [generator.binomial(75, 0.4 + 0.01 * i, 10_000) / 75 for i in range(30)]
    assert ranks(*accuracies) == [str(30 - i) for i in range(30)]


def test_compare_records_uses_the_common_prefix(make_record):
    a, b = make_record([0.75, 0.25, 0.0]), make_record([0.25, 0.25], name="maml")
    found = compare_records(a, b, 0.9)
    assert (found.mean, found.n, found.level) == (0.25, 2, 0.9)
    assert compare_records(b, a).mean == -0.25


def test_compare_records_names_every_field_in_which_the_tasks_differ(make_record):
    a = make_record([0.5, 0.5])
    b = make_record([0.5, 0.5], task={"shots": 5, "dataset_version": "2"})
    with pytest.raises(UserError) as caught:
        compare_records(a, b)
    assert str(caught.value) == (
        "these records are of different tasks: dataset version 1 and 2; shots 1 and 5; compare runs of one task"
    )


def test_compare_records_refuses_other_episodes_of_the_same_task(make_record):
    a, b = make_record([0.5, 0.5]), make_record([0.5, 0.5], task={"episodes_sha256": "0" * 64})
    with pytest.raises(UserError, match="drew different episodes"):
        compare_records(a, b)
