import numpy as np
import pytest

from fewbench.benchmark.records.codec import encode_rough
from fewbench.benchmark.reporting.coarsity import Quartile, quartiles

ONES = {"mean": 1.0, "quartiles": [1.0, 1.0, 1.0]}


def filled(record) -> list[Quartile]:
    return [quartile for quartile in quartiles(record) if quartile is not None]


def test_a_record_says_the_coarsity_of_each_episode(make_record, coarse):
    record = make_record([0.5, 0.25, 1.0], task=coarse([40.5, 8.25, 91.0]))
    found = record.coarsities
    assert found is not None and found.tolist() == [40.5, 8.25, 91.0]


@pytest.mark.parametrize("task", [{}, {"coarsity": None}])
def test_other_records_have_none(make_record, task):
    record = make_record([0.5, 0.25], task=task)
    assert record.coarsities is None
    assert quartiles(record) == ()


def test_quartiles_worked_by_hand(make_record, coarse):
    # Limits 1 + 7·(¼, ½, ¾) = 2.75, 4.5, 6.25: pairs (1, 2), (3, 4), (5, 6), (7, 8). In a pair of accuracies a ± d the sample
    # deviation is d·√2, so that the half-width is t(0.975, 1) · d = 12.7062 · d.
    record = make_record([0.5, 0.8, 0.6, 0.6, 1.0, 0.3, 0.2, 0.9], task=coarse([5.0, 2, 3, 4, 7, 1, 6, 8]))
    found = filled(record)
    assert [quartile.coarsity for quartile in found] == [1.5, 3.5, 5.5, 7.5]
    assert [quartile.accuracy.mean for quartile in found] == pytest.approx([0.55, 0.6, 0.35, 0.95])
    assert [quartile.accuracy.half_width for quartile in found] == pytest.approx([3.176551, 0, 1.905931, 0.635310], abs=1e-6)


def test_the_intervals_have_the_level_of_the_record(make_record, coarse):
    record = make_record([0.8, 0.3] * 4, task=coarse([1, 1, 2, 2, 3, 3, 4, 4]), accuracy={"level": 0.5})
    assert filled(record)[0].accuracy.half_width == pytest.approx(0.25)  # t(0.75, 1) = 1


def test_episodes_of_equal_coarsity_stay_together(make_record, coarse):
    # Limits 1, 2 and 3 (by interpolation between equal values or not): what equals a limit is below it.
    record = make_record([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], task=coarse([1, 1, 1, 2, 2, 3, 3, 4]))
    assert [quartile.accuracy.n for quartile in filled(record)] == [3, 2, 2, 1]


def test_a_quartile_that_ties_leave_empty_is_none(make_record, coarse):
    record = make_record([0.25, 0.5, 0.75, 1.0], task=coarse([9, 9, 9, 9]))
    assert [quartile.accuracy.mean for quartile in filled(record)] == [0.625]
    assert quartiles(record)[1:] == (None, None, None)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ([], r"^task\.coarsity is not a section"),
        ({"mean": 1.0, "quartiles": [1.0, 1.0, 1.0]}, r"^task\.coarsity\.per_episode is missing"),
        ({**ONES, "per_episode": {"encoding": "other", "data": ""}}, r"^task\.coarsity\.per_episode\.encoding is not one of"),
        ({**ONES, "per_episode": encode_rough(np.ones(3))}, "its per-episode values are not 2"),
        ({**ONES, "per_episode": encode_rough(np.array([1.0, np.nan]))}, "a coarsity is not finite"),
    ],
)
def test_a_record_with_damaged_coarsities_is_damaged(make_record, section, problem):
    with pytest.raises(ValueError, match=problem):
        make_record([0.5, 0.75], task={"coarsity": section})
