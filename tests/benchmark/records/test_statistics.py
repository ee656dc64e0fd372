import itertools

import numpy as np
import pytest
from scipy import stats

from fewbench.benchmark.records.statistics import (
    apart_in_percent,
    bootstrap_interval,
    holm,
    images_for_interval,
    in_percent,
    paired_difference,
    paired_p_values,
    t_interval,
)
from fewbench.core.errors import UsageError
from fewbench.tasks.samplers import UniformSampler


def ends(interval):
    """Both ends of an interval that has them."""
    assert interval.low is not None and interval.high is not None
    return interval.low, interval.high


def test_t_interval_of_four_values_worked_by_hand():
    # mean 0.5, deviations −0.3 −0.1 0.1 0.3: s² = 0.2/3; t(0.975, 3) = 3.182446
    interval = t_interval([0.2, 0.4, 0.6, 0.8])
    expected = 3.182446305 * (0.2 / 3) ** 0.5 / 2
    assert interval.mean == pytest.approx(0.5)
    assert interval.half_width == pytest.approx(expected, rel=1e-8)
    assert (interval.low, interval.high) == pytest.approx((0.5 - expected, 0.5 + expected), rel=1e-8)
    assert (interval.level, interval.method, interval.n) == (0.95, "t", 4)


@pytest.mark.parametrize(("n", "level"), list(itertools.product((2, 3, 25, 600), (0.5, 0.9, 0.99))))
def test_t_interval_agrees_with_scipy(n, level):
    values = np.random.default_rng(n).random(n)
    interval = t_interval(values, level)
    expected = stats.t.interval(level, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)


def test_t_interval_covers_the_true_mean_as_often_as_it_says():
    # With ddof 0 or a normal quantile the coverage at n = 5 would be 0.93 or 0.88.
    draws = np.random.default_rng(7).normal(0.3, 0.2, size=(4000, 5))
    low, high = np.transpose([ends(t_interval(values)) for values in draws])
    assert np.mean((low <= 0.3) & (high >= 0.3)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("interval", [t_interval([0.4]), bootstrap_interval([0.4], 0.95, 0)])
def test_one_value_has_a_mean_and_no_interval(interval):
    assert (interval.mean, interval.half_width, interval.low, interval.high) == (0.4, None, None, None)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5])
def test_a_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(UsageError, match=f"confidence level {level}: "):
        t_interval([0.1, 0.2], level)


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="at least one value"):
        t_interval([])


def test_bootstrap_is_a_function_of_its_seed():
    values = np.random.default_rng(0).integers(0, 76, 300) / 75
    assert bootstrap_interval(values, 0.95, 3) == bootstrap_interval(values, 0.95, 3)
    assert bootstrap_interval(values, 0.95, 3) != bootstrap_interval(values, 0.95, 4)


def test_bootstrap_of_two_values_has_the_ends_of_the_binomial_distribution():
    # The mean of 10 resampled 0s and 1s is Binomial(10, 0.4)/10: its 5 % and 95 % quantiles are 0.2 and 0.7.
    interval = bootstrap_interval([0, 1, 0, 1, 0, 0, 1, 0, 1, 0], 0.9, 0)
    assert (interval.low, interval.high) == (0.2, 0.7)
    assert interval.half_width == pytest.approx(0.25)
    assert interval.mean == pytest.approx(0.4)


def test_bootstrap_in_many_steps_agrees_with_the_t_interval(monkeypatch):
    monkeypatch.setattr("fewbench.benchmark.records.statistics.BOOTSTRAP_CELLS", 10_000)  # 25 resamples a step
    values = np.random.default_rng(1).random(400)
    bootstrap, student = bootstrap_interval(values, 0.95, 0), t_interval(values)
    assert ends(bootstrap) == pytest.approx(ends(student), abs=0.05 * np.ptp(ends(student)))


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    draws = np.random.default_rng(5).binomial(20, 0.7, size=(1000, 60)) / 20
    low, high = np.transpose([ends(bootstrap_interval(values, 0.9, i, 500)) for i, values in enumerate(draws)])
    assert np.mean((low <= 0.7) & (high >= 0.7)) == pytest.approx(0.9, abs=0.03)


def test_paired_difference_agrees_with_scipy():
    generator = np.random.default_rng(2)
    a, b = generator.random(50), generator.random(50)
    found, expected = paired_difference(a, b, 0.9), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.mean == pytest.approx((interval.low + interval.high) / 2, rel=1e-9)
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2, rel=1e-9)
    assert (found.level, found.n) == (0.9, 50)


def test_paired_difference_keeps_its_sign_and_is_symmetric():
    a, b = np.array([0.9, 0.8, 0.7]), np.array([0.5, 0.6, 0.4])
    assert paired_difference(a, b).mean == pytest.approx(0.3)
    assert paired_difference(b, a).mean == pytest.approx(-0.3)
    assert paired_difference(a, b).p_value == paired_difference(b, a).p_value


@pytest.mark.parametrize(("a", "b", "p"), [([0.5, 0.25], [0.5, 0.25], 1.0), ([0.75, 0.5], [0.5, 0.25], 0.0)])
def test_paired_difference_without_variance_is_certain(a, b, p):
    found = paired_difference(a, b)
    assert (found.p_value, found.half_width) == (p, 0.0)


def test_one_common_episode_is_no_evidence():
    found = paired_difference([0.9], [0.1])
    assert (found.p_value, found.half_width, found.n) == (1.0, None, 1)


def test_paired_difference_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="differ in number"):
        paired_difference([0.1, 0.2], [0.1])


def test_many_p_values_at_once_are_those_of_single_tests():
    generator = np.random.default_rng(3)
    samples = [generator.normal(0.1, 1, n) for n in (2, 9, 200)]
    found = paired_p_values([s.mean() for s in samples], [s.std(ddof=1) for s in samples], [len(s) for s in samples])
    assert found == pytest.approx([stats.ttest_1samp(s, 0)[1] for s in samples], rel=1e-9)


def test_the_test_rejects_a_true_null_hypothesis_as_often_as_its_level():
    draws = np.random.default_rng(11).normal(size=(5000, 8))
    p = paired_p_values(draws.mean(axis=1), draws.std(axis=1, ddof=1), 8)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.01)


def test_holm_worked_by_hand():
    # ordered: 0.01·4, 0.02·3, 0.03·2 → not below 0.06, 0.5·1
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_holm_stops_at_one_and_takes_an_empty_family():
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_bounds_the_chance_of_any_false_rejection():
    p = np.random.default_rng(13).random((4000, 6))  # six true null hypotheses
    families_with_a_rejection = np.mean([(holm(family) < 0.05).any() for family in p])
    assert families_with_a_rejection == pytest.approx(0.05, abs=0.01)


def test_an_interval_in_percent_takes_enough_values():
    assert in_percent(0.63171, 0.00229, 600) == "63.17 ± 0.23"
    assert in_percent(-0.5, 0.01, 20) == "-50.00 ± 1.00"
    assert in_percent(0.62, 0.593, 19) == "62.00 (too few episodes: 19)"


@pytest.mark.parametrize(("classes", "images"), [(5, 320), (12, 160), (100, 16), (150, 16)])
def test_so_many_images_give_an_interval_without_replacement(classes: int, images: int):
    assert images_for_interval(5, 1, 15, classes) == images

    def episodes(size: int) -> int:
        offsets = np.arange(classes + 1) * size
        drawn = UniformSampler(offsets=offsets, seed=0, ways=5, shots=1, queries=15).disjoint_episodes()
        return 0 if drawn is None else len(drawn)

    assert episodes(images) >= 20 and (images == 16 or episodes(images - 1) < 20)


def test_too_few_episodes_that_share_no_image_say_whether_images_or_episodes_are_few():
    assert apart_in_percent(0.7, 0.0324, 40, 600) == "70.00 ± 3.24 (40 episodes)"
    assert apart_in_percent(0.7, 0.5, 2, 600) == "too few images: 2 episodes"
    assert apart_in_percent(0.7, 0.5, 8, 8) == "too few episodes: 8 episodes"  # as many as the run has
