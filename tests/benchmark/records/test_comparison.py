import numpy as np
import pytest
from scipy import stats

from fewbench.benchmark.records.comparison import by_task, compare_pairs, mean_ranks, ranks_of_episodes, signed_rank_p_value
from fewbench.core.errors import UserError

GENERATOR = np.random.Generator(np.random.Philox(7))
GOOD = GENERATOR.integers(30, 75, 200) / 75
WORSE = np.clip(GOOD - GENERATOR.integers(-5, 9, 200) / 75, 0, 1)
BAD = np.clip(GOOD - 0.2, 0, 1)


def test_a_pair_has_both_tests_and_the_episodes_won(make_record):
    (pair,) = compare_pairs([make_record(GOOD), make_record(WORSE, name="ridge")])
    gap = GOOD - WORSE
    assert (pair.wins, pair.ties, pair.losses) == ((gap > 0).sum(), (gap == 0).sum(), (gap < 0).sum())
    assert pair.difference.mean == pytest.approx(gap.mean())
    assert pair.t == pytest.approx(stats.ttest_rel(GOOD, WORSE).pvalue)
    assert pair.wilcoxon == pytest.approx(_signed_rank(gap))


def _signed_rank(gap):
    """The normal approximation with ties and with zeros split, written out from Pratt's and Demšar's formulas."""
    ranks = stats.rankdata(np.abs(gap))
    zeros = ranks[gap == 0].sum()
    smaller = min(ranks[gap > 0].sum(), ranks[gap < 0].sum()) + zeros / 2
    n = len(gap)
    ties = sum(count**3 - count for count in np.unique(ranks, return_counts=True)[1])
    deviation = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - ties / 48)
    return 2 * stats.norm.cdf((smaller - n * (n + 1) / 4) / deviation)


def test_p_values_are_adjusted_over_all_pairs(make_record):
    records = [make_record(GOOD), make_record(WORSE, name="ridge"), make_record(np.roll(GOOD, 1), name="chance")]
    pairs = compare_pairs(records)
    alone = [compare_pairs([records[pair.first], records[pair.second]])[0] for pair in pairs]
    for name in ("t", "wilcoxon"):
        single = sorted(getattr(pair, name) for pair in alone)
        adjusted = sorted(getattr(pair, name) for pair in pairs)
        assert adjusted[0] == pytest.approx(3 * single[0])
        assert adjusted[1] == pytest.approx(min(1, max(adjusted[0], 2 * single[1])))


def test_equal_runs_are_level(make_record):
    (pair,) = compare_pairs([make_record(GOOD), make_record(GOOD, name="ridge")])
    assert (pair.t, pair.wilcoxon, pair.ties) == (1.0, 1.0, 200)
    assert signed_rank_p_value(np.zeros(5)) == 1.0


def test_ranks_of_episodes_share_ties(make_record):
    records = [make_record([0.9, 0.5]), make_record([0.8, 0.5], name="ridge"), make_record([0.7, 0.6], name="chance")]
    assert ranks_of_episodes(records).tolist() == [1.75, 2.25, 2.0]


def two_tasks(make_record):
    return [
        make_record(accuracies, name=name, task={"dataset": dataset})
        for dataset, worse in (("trifeature", BAD), ("omniglot", BAD))
        for name, accuracies in (("protonet", GOOD), ("ridge", worse))
    ]


def test_a_method_that_is_better_on_every_task_has_rank_1(make_record):
    names, tasks = by_task(two_tasks(make_record))
    assert [name.partition(",")[0] for name in names] == ["protonet", "ridge"]
    first, second = mean_ranks(tasks)
    assert (first.mean, first.low, first.high) == (1.0, 1.0, 1.0)
    assert (second.mean, second.low, second.high) == (2.0, 2.0, 2.0)


def test_the_interval_of_a_rank_covers_what_the_episodes_leave_open(make_record):
    records = [
        make_record(accuracies, name=name, task={"dataset": dataset})
        for dataset, other in (("trifeature", WORSE), ("omniglot", np.roll(GOOD, 1)))
        for name, accuracies in (("protonet", GOOD), ("ridge", other))
    ]
    (first, second) = mean_ranks(by_task(records)[1])
    assert first.mean == 1.25 and second.mean == 1.75  # on the second task both have the same mean
    assert first.low == 1.0 and second.high == 2.0 and first.high > 1.0


def test_every_task_needs_every_method_once(make_record):
    records = two_tasks(make_record)
    with pytest.raises(UserError, match="omniglot, 5-way 1-shot, has no record of ridge, conv4"):
        by_task(records[:-1])
    with pytest.raises(UserError, match="two records are of ridge, conv4 on one task"):
        by_task([*records, make_record(WORSE, name="ridge", task={"dataset": "omniglot"})])
    with pytest.raises(UserError, match=r"trifeature, .* has no record of ridge \(alpha=2.0\), conv4"):
        by_task([*records, make_record(BAD, name="ridge", method={"parameters": {"alpha": 2.0}}, task={"dataset": "omniglot"})])


def test_settings_of_one_method_are_told_apart_where_a_task_has_several(make_record):
    records = [
        make_record(accuracies, method={"parameters": {"scale": scale, "distance": "euclidean"}}, task={"dataset": dataset},
                    backbone={"parameters": {"width": width}})
        for dataset, width in (("trifeature", 64), ("omniglot", 32))
        for scale, accuracies in ((1.0, GOOD), (10.0, BAD))
    ]  # fmt: skip
    names, tasks = by_task(
        [*records, *(make_record(WORSE, name="ridge", task={"dataset": d}) for d in ("trifeature", "omniglot"))]
    )
    backbone = records[0].backbone.name
    assert names == [f"protonet (scale=1.0), {backbone}", f"protonet (scale=10.0), {backbone}", f"ridge, {backbone}"]
    assert [[record.mean for record in row] for row in tasks] == [[pytest.approx(one.mean()) for one in (GOOD, BAD, WORSE)]] * 2
    with pytest.raises(UserError, match=r"two records are of protonet, \S+ on one task"):
        by_task([*records[:1], *records[:1]])
