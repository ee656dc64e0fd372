import numpy as np
import pytest
import torch

from fewbench.benchmark.probe.readout import COSTS, Labelled, read_out


def blobs(images: int, seed: int, shift: float) -> Labelled:
    """Numbers whose first coordinate tells three values, the second nothing; the third is the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.arange(images) % 3
    numbers = torch.randn(images, 3, generator=generator)
    numbers[:, 0] += shift * values
    numbers[:, 2] = 7
    return Labelled(numbers, values)


def test_values_that_are_apart_are_read_without_error_and_equal_ones_at_chance():
    assert read_out(blobs(300, 0, 50), blobs(90, 1, 50), blobs(300, 2, 50), 3).accuracy == 1
    assert read_out(blobs(3000, 0, 0), blobs(90, 1, 0), blobs(3000, 2, 0), 3).accuracy == pytest.approx(1 / 3, abs=0.05)


def test_the_readout_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    fit, val, test = (blobs(images, seed, 2) for images, seed in ((300, 0), (90, 1), (300, 2)))
    found = read_out(fit, val, test, 3)
    assert found.cost in COSTS
    mean, deviation = fit.numbers.mean(dim=0), fit.numbers.std(dim=0)
    deviation[2] = 1
    model = linear_model.LogisticRegression(C=found.cost, tol=1e-8, max_iter=1000)
    model.fit(((fit.numbers - mean) / deviation).numpy(), fit.values.numpy())
    expected = model.predict(((test.numbers - mean) / deviation).numpy())
    assert found.accuracy == pytest.approx(np.mean(expected == test.values.numpy()), abs=0.005)
