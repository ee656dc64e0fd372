import numpy as np
import pytest
from scipy import stats

from fewbench.benchmark.records.statistics import t_interval
from fewbench.benchmark.records.trainings import trainings_of

MEANS = [0.61, 0.64, 0.58, 0.62, 0.60]


@pytest.fixture
def trained(make_record):
    """A function that makes a record of a training with a seed."""

    def make(mean: float, seed: int | None, options: str | None = "a", **sections):
        pretraining = {"dataset": "trifeature", "recipe": "protonet 5-way 1-shot", "external": False, "steps": 300,
                       "seed": seed, "options_sha256": options}  # fmt: skip
        weights = {"weights": f"w-seed{seed}", "weights_sha256": f"{seed}" * 8, "pretraining": pretraining}
        accuracies = np.clip(mean + np.linspace(-0.1, 0.1, 40), 0, 1)
        return make_record(accuracies, backbone=weights, **sections)

    return make


def test_the_interval_is_that_of_the_means_of_the_trainings(trained):
    records = [trained(mean, seed) for seed, mean in zip((3, 0, 4, 1, 2), MEANS, strict=True)]
    (found,) = trainings_of(records)
    assert (found.seeds, found.places) == ((0, 1, 2, 3, 4), (1, 3, 4, 0, 2))
    assert (found.lowest, found.highest) == (pytest.approx(0.58), pytest.approx(0.64))
    assert found.interval.mean == pytest.approx(np.mean(MEANS))
    expected = stats.t.ppf(0.975, 4) * np.std(MEANS, ddof=1) / np.sqrt(5)
    assert found.interval.half_width == pytest.approx(expected)
    (narrower,) = trainings_of(records, 0.8)
    assert narrower.interval.half_width == t_interval([records[place].mean for place in narrower.places], 0.8).half_width


def test_only_what_differs_in_the_seed_alone_is_one_recipe(trained):
    one = trained(0.6, 0)
    others = [
        trained(0.6, 1, options="b"),
        trained(0.6, 2, name="ridge"),
        trained(0.6, 3, task={"dataset": "trifeature"}),
        trained(0.6, None),
        trained(0.6, 4, options=None),
        trained(0.6, 0),
        trained(0.6, 5, method={"parameters": {"scale": 2.0}}),
    ]
    assert trainings_of([one, *others]) == []
    assert [found.seeds for found in trainings_of([one, *others, trained(0.7, 1)])] == [(0, 1)]
