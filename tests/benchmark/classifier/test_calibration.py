import numpy as np
import pytest
from scipy.stats import binomtest

from fewbench.benchmark.classifier.calibration import Calibration, calibrate, probabilities, temperature
from fewbench.benchmark.classifier.heldout import HeldOut


@pytest.mark.parametrize("true", [0.02, 1.0, 30.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 5))
    chances = probabilities(logits, 1.0)
    labels = (chances.cumsum(axis=1) > generator.random((len(chances), 1))).argmax(axis=1)
    assert temperature(logits * true, labels) == pytest.approx(true, rel=0.03)


def test_few_photos_that_are_all_right_are_no_certainty():
    scores = np.eye(3)[np.arange(12) % 3]
    found = probabilities(scores, temperature(scores, np.arange(12) % 3))
    assert 0.85 < found.max() < 0.95  # Platt's 13 / 14


def test_a_score_of_minus_infinity_is_probability_zero():
    scores = np.array([[1.0, -np.inf, 0.0]] * 12)
    warm = temperature(scores, np.zeros(12, np.int64))
    assert np.isfinite(warm)
    assert probabilities(scores, warm)[0, 1] == 0


def test_the_radius_is_the_quantile_of_the_distances():
    held = HeldOut(np.eye(2)[np.arange(101) % 2], np.arange(101) % 2, np.linspace(0, 1, 101), 1.5)
    assert calibrate(held, 0.95).radius == pytest.approx(0.95)
    assert calibrate(held, 0.95).wider == 1.5
    few = calibrate(HeldOut(held.scores[:9], held.labels[:9], held.distances[:9], 1.5), 0.95)
    assert (few.radius, few.temperature, few.photos, few.accuracy) == (None, 1.0, 9, 1.0)
    none = calibrate(HeldOut(held.scores[:0], held.labels[:0], held.distances[:0], 1.5), 0.95)
    assert (none.photos, none.accuracy) == (0, None)


def test_the_interval_is_wilsons_for_2_25_times_fewer_photos():
    wilson = binomtest(32, 40).proportion_ci(0.95, "wilson")  # 40 photos are 90 / 2.25
    assert Calibration(photos=90, accuracy=0.8).interval() == pytest.approx((wilson.low, wilson.high))
    assert Calibration(photos=24, accuracy=1.0).interval() == pytest.approx((0.7352, 1.0), abs=1e-4)
    assert Calibration().interval() == (0, 1)
