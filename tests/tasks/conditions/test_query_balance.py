import math

import numpy as np
import pytest

from fewbench.core.errors import UserError
from fewbench.tasks.conditions.conditions import Conditions
from fewbench.tasks.conditions.query_balance import shared_out
from fewbench.tasks.conditions.sampler import ConditionedSampler
from fewbench.tasks.meta_dataset import MetaDatasetSampler
from fewbench.tasks.samplers import Sampler, UniformSampler

OFFSETS = np.arange(31) * 120


def clean(shots: int = 5, seed: int = 3, offsets: np.ndarray = OFFSETS) -> UniformSampler:
    return UniformSampler(offsets, seed, 5, shots, 15)


def make(concentration: float = 2.0, shots: int = 5, seed: int = 3, offsets: np.ndarray = OFFSETS) -> Sampler:
    return ConditionedSampler.around(clean(shots, seed, offsets), Conditions(query_balance=concentration))


def counts_of(labels: np.ndarray) -> np.ndarray:
    return (labels[..., None] == np.arange(5)).sum(axis=1)


def rounded_by_the_paper(shares: np.ndarray, total: int) -> np.ndarray:
    """As the authors' released function `convert_prob_to_samples` does it, for one episode."""
    exact = shares * total
    while np.round(exact).sum() != total:
        nearest = int(np.argmin([abs(math.modf(one)[0] - 0.5) for one in exact]))
        exact[nearest] = np.floor(exact[nearest]) if np.round(exact).sum() > total else np.ceil(exact[nearest])
    return np.round(exact).astype(int)


@pytest.mark.parametrize("concentration", [0.5, 1.0, 2.0, 5.0])
def test_counts_are_those_of_the_papers_rounding(concentration: float):
    shares = np.random.default_rng(0).dirichlet(np.full(5, concentration), 300)
    ours = shared_out(75, np.log(shares))
    assert (ours == np.stack([rounded_by_the_paper(row.copy(), 75) for row in shares])).all()


def test_spread_is_that_of_the_dirichlet_distribution():
    counts = counts_of(make(offsets=np.arange(31) * 600).draw(0, 4000).query_labels)
    assert (counts.sum(axis=1) == 75).all()
    assert counts.mean(axis=0) == pytest.approx(np.full(5, 15), abs=0.3)
    assert (counts / 75).var() == pytest.approx(0.2 * 0.8 / 11, rel=0.05)  # (1/N)(1 − 1/N) / (N a + 1)


def test_classes_support_and_first_queries_are_those_of_the_clean_episode():
    batch, plain = make().draw(0, 100), clean().draw(0, 100)
    for name in ("classes", "support", "support_labels", "seeds"):
        assert (getattr(batch, name) == getattr(plain, name)).all()
    for episode in range(100):
        for label in range(5):
            mine, theirs = (one.query[episode][one.query_labels[episode] == label] for one in (batch, plain))
            shared = min(len(mine), len(theirs))
            assert (mine[:shared] == theirs[:shared]).all()


def test_rows_are_of_their_class_and_used_once():
    batch = make(0.5).draw(0, 200)
    assert (batch.query // 120 == np.take_along_axis(batch.classes, batch.query_labels, axis=1)).all()
    together = np.concatenate([batch.support, batch.query], axis=1)
    assert all(len(set(rows)) == 25 + 75 for rows in together.tolist())


def test_an_episode_depends_on_seed_and_index_alone():
    whole = make().draw(0, 50)
    for start, stop in ((0, 1), (7, 20), (49, 50)):
        assert make().draw(start, stop).as_bytes() == whole[start:stop].as_bytes()
    assert make(seed=4).draw(0, 50).as_bytes() != whole.as_bytes()


def test_images_of_one_shot_are_among_those_of_five_where_both_have_them():
    one, five = make(shots=1).draw(0, 20), make(shots=5).draw(0, 20)
    assert (one.query_labels == five.query_labels).all()
    assert (one.support == five.support[:, :5]).all()


@pytest.mark.parametrize("shots", [1, 5])
def test_classes_that_could_not_hold_all_queries_are_an_error(shots: int):
    # Shares cut to the images that a class has would be others than the concentration says: Omniglot has 20 images a class.
    with pytest.raises(UserError, match=rf"class of this split has 20 images, of which {20 - shots} .* at most --queries 3"):
        make(shots=shots, offsets=np.arange(11) * 20).draw(0, 4)


def test_one_class_may_have_all_queries_that_fit():
    clean_sampler = UniformSampler(np.arange(11) * 20, 3, 5, 5, 3)  # 15 queries and 5 shots: all that a class has
    batch = ConditionedSampler.around(clean_sampler, Conditions(query_balance=0.05)).draw(0, 300)
    assert counts_of(batch.query_labels).max() == 15
    assert all(len(set(rows)) == 40 for rows in np.concatenate([batch.support, batch.query], axis=1).tolist())


def test_the_error_names_a_number_of_queries_only_where_one_fits():
    crowded = UniformSampler(np.arange(11) * 20, 3, 5, 18, 1)
    with pytest.raises(UserError, match=r"of which 2 are left .* fewer --shots or --ways"):
        ConditionedSampler.around(crowded, Conditions(query_balance=2.0)).draw(0, 4)


def test_a_large_concentration_is_the_balanced_task():
    assert make(1e6).draw(0, 50).as_bytes() == clean().draw(0, 50).as_bytes()


def test_no_episodes_without_reuse_are_claimed():
    assert make().disjoint_episodes() is None


def test_no_conditions_leave_the_sampler_as_it_is():
    plain = clean()
    assert ConditionedSampler.around(plain, Conditions()) is plain


def test_queries_that_vary_already_are_an_error():
    varying = MetaDatasetSampler(OFFSETS, 0)
    with pytest.raises(UserError, match="unequal numbers of queries"):
        ConditionedSampler.around(varying, Conditions(query_balance=2.0)).draw(0, 4)
