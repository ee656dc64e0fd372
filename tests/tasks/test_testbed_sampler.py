import numpy as np
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks import testbed as testbeds
from fewbench.tasks import testbed_sampler as samplers

OFFSETS = np.arange(9) * 30
DISTANCES = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))) / 3


def make(offsets: np.ndarray | None = OFFSETS) -> testbeds.Testbed:
    return testbeds.make_testbed(offsets, DISTANCES, ways=3, shots=2, queries=4, tasks=20, alpha=0.3, beta=10, seed=1)


def test_any_slice_is_that_of_the_testbed():
    testbed = make()
    sampler = samplers.TestbedSampler(OFFSETS, 0, testbed)
    batch = sampler.draw(5, 9)
    assert (batch.support == testbed.episodes.support[5:9]).all()
    assert batch.index.tolist() == [5, 6, 7, 8]
    assert len(sampler.draw(3, 3)) == 0


def test_parameters_tell_the_testbed_apart():
    testbed = make()
    sampler = samplers.TestbedSampler(OFFSETS, 0, testbed)
    assert (sampler.name, sampler.most) == ("testbed", 20)
    assert sampler.parameters == {"testbed_sha256": testbed.sha256, "tasks": 20, "alpha": 0.3, "beta": 10}


def test_more_episodes_than_tasks_are_refused():
    with pytest.raises(UsageError, match="--episodes 21: the testbed has only 20 tasks"):
        samplers.TestbedSampler(OFFSETS, 0, make()).draw(0, 21)


def test_testbed_of_another_split_or_without_images_is_refused():
    with pytest.raises(UserError, match="is not of class"):
        samplers.TestbedSampler(OFFSETS * 2, 0, make())
    with pytest.raises(UsageError, match="classes only"):
        samplers.TestbedSampler(OFFSETS, 0, make(None))
