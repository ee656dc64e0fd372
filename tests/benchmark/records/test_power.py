import numpy as np
import pytest

from fewbench.benchmark.records.power import power_of
from fewbench.core.errors import UsageError

GENERATOR = np.random.Generator(np.random.Philox(3))
A = 0.6 + 0.1 * GENERATOR.standard_normal(5000)
B = A - 0.01 + 0.02 * GENERATOR.standard_normal(5000)


def test_the_number_of_episodes_has_the_power_asked_for():
    found = power_of(A, B, 0.01)
    deviation = (A - B).std(ddof=1)
    assert found.deviation == pytest.approx(deviation)
    drawn = 0.01 + deviation * np.random.Generator(np.random.Philox(4)).standard_normal((4000, found.episodes))
    from scipy.stats import ttest_1samp

    power = (np.asarray(ttest_1samp(drawn, 0, axis=1))[1] < 0.05).mean()
    assert 0.78 < power < 0.83  # 0.8 to 0.81 by rounding up, ± three deviations of 4,000 draws
    assert found.unpaired > 20 * found.episodes


def test_large_numbers_agree_with_the_normal_approximation():
    found = power_of(A, B, 0.0005, power=0.9, level=0.99)
    expected = ((2.5758 + 1.2816) * found.deviation / 0.0005) ** 2
    assert found.episodes == pytest.approx(expected, rel=1e-3)


def test_methods_that_always_differ_alike_need_two_episodes():
    found = power_of(np.full(10, 0.5), np.full(10, 0.25), 0.01)
    assert (found.episodes, found.deviation, found.correlation) == (2, 0.0, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0,), "--difference 0: points of accuracy above 0"),
        ((0.01, 1.0), "--power 1: a number between 0 and 1"),
        ((0.01, 0.8, 0.0), "--level 0: a number between 0 and 1"),
        ((1e-9,), "more than 1000000000 episodes"),
    ],
)
def test_numbers_out_of_range_are_one_line(values, message):
    with pytest.raises(UsageError, match=message):
        power_of(A, B, *values)


def test_one_episode_has_no_spread():
    with pytest.raises(UsageError, match="one common episode"):
        power_of(A[:1], B[:1], 0.01)
