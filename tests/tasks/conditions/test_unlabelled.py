import numpy as np
import pytest

from fewbench.core.errors import UsageError
from fewbench.tasks.conditions.conditions import Conditions
from fewbench.tasks.conditions.sampler import ConditionedSampler
from fewbench.tasks.episodes import EpisodeBatch
from fewbench.tasks.samplers import UniformSampler

OFFSETS = np.arange(31) * 60


def clean(shots: int = 5) -> UniformSampler:
    return UniformSampler(OFFSETS, 3, 5, shots, 6)


def drawn(stop: int = 50, start: int = 0, shots: int = 5, **conditions) -> EpisodeBatch:
    return ConditionedSampler.around(clean(shots), Conditions(**conditions)).draw(start, stop)


def test_the_labelled_episode_is_the_clean_one():
    batch, plain = drawn(unlabelled=4, distractors=2), clean().draw(0, 50)
    for name in ("classes", "support", "support_labels", "query", "query_labels", "seeds"):
        assert (getattr(batch, name) == getattr(plain, name)).all()
    assert plain.unlabelled.shape == (50, 0)


def test_each_class_gives_as_many_images_and_none_of_the_episode():
    batch = drawn(unlabelled=4, distractors=2)
    assert batch.unlabelled.shape == (50, 4 * 7)
    classes = (batch.unlabelled // 60).reshape(50, 4, 7)
    assert (classes == classes[:, :1]).all()
    assert (classes[:, 0, :5] == batch.classes).all()
    assert all(len(set(row)) == 7 for row in classes[:, 0].tolist())
    together = np.concatenate([batch.support, batch.query, batch.unlabelled], axis=1)
    assert all(len(set(rows)) == together.shape[1] for rows in together.tolist())


def test_few_images_are_among_more_and_do_not_depend_on_distractors():
    few, many, others = (drawn(**one).unlabelled for one in (
        {"unlabelled": 2}, {"unlabelled": 6}, {"unlabelled": 2, "distractors": 3},
    ))  # fmt: skip
    assert (few == many[:, : few.shape[1]]).all()
    assert (few.reshape(50, 2, 5) == others.reshape(50, 2, 8)[..., :5]).all()


def test_an_episode_depends_on_seed_and_index_alone():
    whole = drawn(unlabelled=4, distractors=2, query_balance=1.0)
    part = drawn(start=7, stop=20, unlabelled=4, distractors=2, query_balance=1.0)
    assert part.as_bytes() == whole[7:20].as_bytes()


def test_uneven_queries_leave_the_unlabelled_images_their_place():
    batch = drawn(unlabelled=25, query_balance=0.05)  # and 5 shots leave 30 images, as many as the queries
    together = np.concatenate([batch.support, batch.query, batch.unlabelled], axis=1)
    assert all(len(set(rows)) == together.shape[1] for rows in together.tolist())


def test_more_than_the_split_has_is_an_error():
    with pytest.raises(UsageError, match="--unlabelled 50: a class of this split has 49"):
        drawn(unlabelled=50)
    with pytest.raises(UsageError, match="--distractors 26: there are 25 classes beside"):
        drawn(unlabelled=3, distractors=26)
