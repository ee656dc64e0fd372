import numpy as np
import pytest

from fewbench.tasks.conditions.conditions import Conditions, NoiseKind
from fewbench.tasks.conditions.sampler import ConditionedSampler
from fewbench.tasks.episodes import ABSENT, check_tasks
from fewbench.tasks.meta_dataset import MetaDatasetSampler
from fewbench.tasks.samplers import Sampler, UniformSampler

OFFSETS = np.arange(31) * 60


def clean(shots: int = 5, ways: int = 5) -> UniformSampler:
    return UniformSampler(OFFSETS, 3, ways, shots, 6)


def noisy(probability: float, kind: NoiseKind = "symmetric", sampler: Sampler | None = None) -> Sampler:
    return ConditionedSampler.around(sampler or clean(), Conditions(label_noise=probability, noise_kind=kind))


def test_only_labels_of_the_support_change():
    batch, plain = noisy(0.3).draw(0, 50), clean().draw(0, 50)
    for name in ("classes", "support", "query", "query_labels", "seeds"):
        assert (getattr(batch, name) == getattr(plain, name)).all()
    assert (batch.support_labels != plain.support_labels).any()


def test_as_many_labels_are_wrong_as_was_asked_for():
    sampler = clean(shots=10)
    wrong = noisy(0.3, sampler=sampler).draw(0, 2000).support_labels != sampler.draw(0, 2000).support_labels
    assert wrong.mean() == pytest.approx(0.3, abs=0.005)


def test_symmetric_flips_go_to_all_others_alike_and_pair_flips_to_the_next():
    sampler = clean(shots=10)
    true = sampler.draw(0, 2000).support_labels
    found = noisy(0.3, sampler=sampler).draw(0, 2000).support_labels
    step = ((found - true) % 5)[found != true]
    assert np.bincount(step, minlength=5)[1:] / len(step) == pytest.approx(np.full(4, 0.25), abs=0.01)
    found = noisy(0.3, "pair", sampler).draw(0, 2000).support_labels
    assert set(((found - true) % 5)[found != true].tolist()) == {1}


def test_flips_nest_in_the_probability_and_in_the_shots():
    true = clean().draw(0, 300).support_labels
    little, much = (noisy(p).draw(0, 300).support_labels for p in (0.1, 0.3))
    assert ((much != true)[little != true]).mean() > 0.99  # all but labels that keep a class from being left out
    one, five = (noisy(0.2, sampler=clean(shots)).draw(0, 300).support_labels[:, :5] for shots in (2, 5))
    assert (one == five).mean() > 0.9


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("probability", [0.2, 0.9, 1.0])
def test_every_class_keeps_an_image(probability: float, kind: NoiseKind):
    for shots in (1, 3):
        check_tasks(noisy(probability, kind, clean(shots)).draw(0, 300))


def test_episodes_of_varying_shape_keep_their_padding():
    sampler = MetaDatasetSampler(OFFSETS, 0, max_ways=8, max_support=40)
    batch, plain = noisy(0.5, sampler=sampler).draw(0, 50), sampler.draw(0, 50)
    assert ((batch.support_labels == ABSENT) == (plain.support_labels == ABSENT)).all()
    assert (batch.support_labels != plain.support_labels).any()
    check_tasks(batch)


def test_an_episode_depends_on_seed_and_index_alone():
    whole = noisy(0.3).draw(0, 50)
    for start, stop in ((0, 1), (7, 20)):
        assert noisy(0.3).draw(start, stop).as_bytes() == whole[start:stop].as_bytes()


def test_episodes_without_reuse_are_noisy_too():
    apart, plain = noisy(0.3).disjoint_episodes(), clean().disjoint_episodes()
    assert apart is not None and plain is not None
    assert (apart.support == plain.support).all()
    assert (apart.support_labels != plain.support_labels).any()
