import numpy as np
import pytest

from fewbench.core.errors import UsageError
from fewbench.tasks.imbalanced import ImbalancedSampler
from fewbench.tasks.samplers import UniformSampler

OFFSETS = np.arange(31) * 60


def make(ways: int = 5, shots: int = 5, queries: int = 6, concentration: float = 2.0, seed: int = 3) -> ImbalancedSampler:
    return ImbalancedSampler(OFFSETS, seed, ways, shots, queries, concentration)


@pytest.mark.parametrize("concentration", [0.01, 2.0, 1000.0])
def test_shots_add_up_with_at_least_one_a_class(concentration: float):
    shots = make(concentration=concentration).draw_shots(0, 500)
    assert (shots.sum(axis=1) == 25).all()
    assert shots.min() >= 1


def test_episodes_have_the_drawn_shots_and_no_image_twice():
    sampler = make()
    batch = sampler.draw(0, 200)
    counts = (batch.support_labels[:, :, None] == np.arange(5)).sum(axis=1)
    assert (counts == sampler.draw_shots(0, 200)).all()
    for rows, labels in ((batch.support, batch.support_labels), (batch.query, batch.query_labels)):
        assert (rows // 60 == np.take_along_axis(batch.classes, labels, axis=1)).all()
    together = np.concatenate([batch.support, batch.query], axis=1)
    assert all(len(set(rows)) == 25 + 30 for rows in together.tolist())


def test_episode_depends_on_seed_and_index_alone():
    whole = make().draw(0, 50)
    for start, stop in ((0, 1), (7, 20), (49, 50)):
        assert make().draw(start, stop).as_bytes() == whole[start:stop].as_bytes()
    assert make(seed=4).draw(0, 50).as_bytes() != whole.as_bytes()


def test_classes_queries_and_first_shots_are_those_of_the_uniform_sampler():
    batch = make().draw(0, 50)
    uniform = UniformSampler(OFFSETS, 3, 5, 1, 6).draw(0, 50)
    assert (batch.classes == uniform.classes).all()
    assert (batch.query == uniform.query).all()
    assert (batch.support[:, :5] == uniform.support).all()


def test_spread_is_that_of_the_dirichlet_distribution():
    # 400 images to share out, so that whole images hardly blur the shares; Var = (1/N)(1 − 1/N) / (N a + 1).
    sampler = ImbalancedSampler(np.arange(31) * 1000, 0, 5, 80, 1, 2.0)
    shares = (sampler.draw_shots(0, 4000) - 1) / (400 - 5)
    assert shares.mean(axis=0) == pytest.approx(np.full(5, 0.2), abs=0.005)
    assert shares.var() == pytest.approx(0.2 * 0.8 / 11, rel=0.05)


def test_concentration_goes_from_one_class_to_all_alike():
    extreme = make(concentration=0.001).draw_shots(0, 300).max(axis=1)
    assert (extreme == 21).mean() > 0.95
    assert (make(concentration=1e6).draw_shots(0, 300) == 5).mean() > 0.99


def test_no_class_gets_more_than_it_has():
    sampler = ImbalancedSampler(np.arange(6) * 10, 0, 5, 4, 4, 0.01)  # 20 support images, six left of each class
    shots = sampler.draw_shots(0, 300)
    assert shots.max() == 6
    assert (shots.sum(axis=1) == 20).all()
    sampler.draw(0, 300)


def test_one_shot_is_balanced():
    assert (make(shots=1).draw(0, 20).support_labels == np.arange(5)).all()


def test_no_episodes_without_reuse_are_claimed():
    assert make().disjoint_episodes() is None


@pytest.mark.parametrize("concentration", [0.0, -1.0, float("nan"), float("inf")])
def test_concentration_out_of_range_is_refused(concentration: float):
    with pytest.raises(UsageError, match="concentration"):
        make(concentration=concentration)
