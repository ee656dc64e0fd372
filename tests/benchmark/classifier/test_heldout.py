import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbench.benchmark.classifier.heldout import folds_of, hold_out, nearest
from fewbench.core.errors import UsageError
from fewbench.methods.metric.matching_net import MatchingNet


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60))
def test_every_fold_leaves_each_class_a_photo_and_copies_stay_together(rows):
    labels, same = np.array([row[0] for row in rows]), [10 * row[0] + row[1] for row in rows]
    folds = folds_of(labels, same)
    for fold in range(folds.max() + 1):
        assert set(labels[folds != fold]) == set(labels)
    for group in set(same):
        assert len({int(fold) for fold, one in zip(folds, same, strict=True) if one == group}) == 1
    for label in set(labels):
        held = folds[labels == label] >= 0
        assert held.all() if len({s for s, one in zip(same, labels, strict=True) if one == label}) > 1 else not held.any()


def test_a_photo_is_not_classified_by_its_copy():
    """Without copies the two classes cannot be told apart; each photo's copy has the same features."""
    features = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    features[20:] = features[:20]
    labels = np.tile(np.arange(20) % 2, 2)
    apart = hold_out(MatchingNet(scale=100.0), "matching-net", features, labels, [*range(20), *range(20)])
    leaking = hold_out(MatchingNet(scale=100.0), "matching-net", features, labels, list(range(40)))
    assert apart.accuracy < 0.7 < leaking.accuracy
    assert apart.distances.min() > 0.1 and leaking.distances.min() < 1e-6


def test_distance_is_one_minus_the_largest_cosine():
    support, query = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[3.0, 0], [1, 1], [-1, 0]])
    np.testing.assert_allclose(nearest(support, query), [0, 1 - 2**-0.5, 1], atol=1e-6)


def test_a_photo_is_never_nearer_than_itself():
    # A cosine of rounded lengths is above 1 now and then, and `bench predict` printed a distance of -0.0.
    rows = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    distances = nearest(rows, rows)
    assert distances.max() < 1e-6
    assert not np.signbit(distances).any()


def test_with_shots_each_photo_is_classified_once_by_so_many_others_of_each_class():
    """The distances say by which: photo i points in direction i, and cosines of others are 0."""
    labels, features = np.array([0] * 7 + [1] * 12), torch.eye(19)
    same = [0, 0, *range(2, 19)]  # the first two are copies
    found = hold_out(MatchingNet(), "matching-net", features, labels, same, shots=3)
    assert sorted(found.labels) == sorted(labels) and (found.distances == 1).all()
    assert found.wider == pytest.approx(1 + 19 / 6)  # two folds of 19 / 2 photos held out, 6 to learn from
    with pytest.raises(UsageError, match="--shots 4: a class has 6 different photos; 8 or more"):
        hold_out(MatchingNet(), "matching-net", features, labels, same, shots=4)


def test_with_fewer_shots_less_is_right():
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(200) % 4
    features = torch.eye(4)[labels].repeat(1, 8) + 2.5 * torch.randn(200, 32, generator=generator)
    one, many = (hold_out(MatchingNet(), "matching-net", features, labels, range(200), shots=shots) for shots in (1, 25))
    assert one.accuracy + 0.1 < many.accuracy
