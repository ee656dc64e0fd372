import numpy as np
import pytest

from fewbench.benchmark.records.predictions import Predictions
from fewbench.benchmark.reporting.report.measures import (
    Confusions,
    by_distance,
    by_hardness,
    calibration_of,
    of_classes,
    rank_correlation,
    told_apart,
    worst_of,
)

RNG = np.random.default_rng(0)


def answers(queries, true, predicted, confidence=None) -> Predictions:
    true, predicted = np.array(true), np.array(predicted)
    confidence = np.full(len(true), 0.5) if confidence is None else np.array(confidence)
    return Predictions(
        np.array(queries, "<u4"), np.arange(len(true), dtype="<u4"), true, predicted, (true == predicted).astype("<u4"),
        confidence.astype("<f4"),
    )  # fmt: skip


def test_a_class_is_averaged_over_the_episodes_that_ask_for_it():
    found = answers([4, 2, 2], true=[0, 0, 0, 1, 0, 2, 1, 2], predicted=[0, 0, 1, 1, 2, 2, 2, 2])
    first, second, third, absent = of_classes(found, 4, 0.95)
    assert first.mean == pytest.approx((2 / 3 + 0) / 2) and first.n == 2
    assert second.mean == 0.5 and third.mean == 1 and absent is None


def confusions(asked, taken, together=None) -> Confusions:
    together = np.full(np.shape(asked), 9) if together is None else np.array(together)
    return Confusions(np.array(asked), np.array(taken), together)


def test_the_largest_shares_come_first_and_rare_pairs_are_left_out():
    found = confusions(
        [[0, 10, 10], [20, 0, 10], [4, 10, 0]], [[0, 1, 5], [0, 0, 2], [4, 0, 0]], [[0, 9, 9], [9, 0, 9], [4, 9, 0]]
    )
    assert found.most(9) == [(0, 2), (1, 2), (0, 1)]
    assert found.most(1) == [(0, 2)]
    assert [found.taken_for(place) for place in range(3)] == [2, 2, 0]
    assert found.share[1, 0] == 0 and np.isnan(found.share[0, 0])


def test_groups_along_the_distance_have_about_equally_many_queries_and_keep_equal_distances_together():
    far = RNG.random((40, 40))
    asked = np.full((40, 40), 10) * ~np.eye(40, dtype=bool)
    groups = by_distance(confusions(asked, (10 * (1 - far)).astype(int) * (asked > 0)), far)
    assert len(groups.at) == 10 and (np.diff(groups.at) > 0).all() and (np.diff(groups.share) < 0).all()
    two = by_distance(confusions(asked, asked // 2), np.where(far > 0.3, 2.0, 1.0))
    np.testing.assert_allclose(two.at, [1, 2])
    np.testing.assert_allclose(two.share, 0.5)


def test_near_classes_that_are_confused_more_have_a_negative_rank_correlation():
    far = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]], float)
    asked = np.array([[0, 10, 10], [10, 0, 10], [10, 10, 0]])
    assert rank_correlation(confusions(asked, [[0, 6, 4], [6, 0, 2], [4, 2, 0]]), far) == (pytest.approx(-1), 6)
    assert rank_correlation(confusions(asked, 0 * asked), far) is None
    assert rank_correlation(confusions(asked, asked // 2, 0 * asked), far) is None


def test_the_calibration_error_is_that_of_the_formula():
    confidence = np.array([0.2, 0.2, 0.95, 1.0, 1.0])
    found = calibration_of(answers([5], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1], confidence))
    # Bin of 0.2: accuracy 1/2; bin of 0.95 and 1: accuracy 2/3.
    expected = 2 / 5 * abs(1 / 2 - 0.2) + 3 / 5 * abs(2 / 3 - 2.95 / 3)
    assert found.error == pytest.approx(expected, abs=1e-6)
    assert found.weight.sum() == pytest.approx(1)


def test_confident_and_right_is_calibrated():
    assert calibration_of(answers([3], [0, 1, 2], [0, 1, 2], [1.0, 1.0, 1.0])).error == 0


def test_accuracy_falls_along_the_hardness():
    hardness = RNG.permutation(np.arange(1000.0))
    groups = by_hardness(hardness, (hardness < 500).astype(float))
    np.testing.assert_allclose(groups.share, [1] * 5 + [0] * 5)
    assert told_apart(hardness, hardness < 500) == 1
    assert told_apart(hardness, hardness >= 500) == 0
    assert told_apart(np.ones(10), np.arange(10) < 4) == 0.5
    assert told_apart(hardness, hardness >= 0) is None


def test_the_worst_tenth_and_the_classes_that_it_has_more_often():
    true = np.tile([0, 1], 20)
    true[6:8] = [0, 2]
    found = answers([2] * 20, true, true)
    accuracies = np.full(20, 0.9)
    accuracies[[3, 7]] = [0.1, 0.3]
    worst = worst_of(found, accuracies, 3)
    assert worst.episodes.tolist() == [3, 7] and worst.mean == pytest.approx(0.2)
    assert worst.classes == [(2, 0.5, 0.05)]
