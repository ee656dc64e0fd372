from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fewbench.core.errors import UsageError, UserError
from fewbench.tasks import testbed as testbeds
from fewbench.tasks.distances import coarsity
from fewbench.tasks.episodes import digest

SIZES = np.array([20, 31, 25, 20, 47, 22, 20, 28])
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])
DISTANCES = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))


def make(offsets: np.ndarray | None = OFFSETS, **change: Any) -> testbeds.Testbed:
    settings = {"ways": 3, "shots": 2, "queries": 4, "tasks": 40, "alpha": 0.3, "beta": 10, "seed": 1, **change}
    return testbeds.make_testbed(offsets, DISTANCES, **settings)


def class_of(rows: np.ndarray) -> np.ndarray:
    return np.searchsorted(OFFSETS, rows, side="right") - 1


def test_rows_are_of_their_class_and_distinct_within_a_task():
    batch = make().episodes
    for rows, labels, width in ((batch.support, batch.support_labels, 6), (batch.query, batch.query_labels, 12)):
        assert rows.shape == labels.shape == (40, width)
        assert (class_of(rows) == np.take_along_axis(batch.classes, labels, axis=1)).all()
    together = np.concatenate([batch.support, batch.query], axis=1)
    assert all(len(set(rows)) == 18 for rows in together.tolist())


def test_support_is_shot_major():
    assert make().episodes.support_labels[0].tolist() == [0, 1, 2, 0, 1, 2]


def test_no_image_comes_again_before_its_class_runs_short():
    batch = make().episodes
    rows = np.concatenate([batch.support, batch.query], axis=1)
    repeats = 0
    for number, size in enumerate(SIZES):
        hands = [set(task[class_of(task) == number]) for task in rows if number in class_of(task)]
        per_shuffle = size // 6
        assert len(hands) > per_shuffle  # otherwise this test shows nothing
        for start in range(0, len(hands), per_shuffle):
            shuffle = hands[start : start + per_shuffle]
            assert len(set.union(*shuffle)) == 6 * len(shuffle)
        repeats += len(set.union(*hands)) < 6 * len(hands)
    assert repeats == len(SIZES)  # every class was shuffled again


def test_a_second_shuffle_is_another_one():
    dealt = testbeds.deal(np.zeros((2, 1), dtype=np.int64), np.array([0, 30]), 20, testbeds.generator(0))
    assert (dealt[0] != dealt[1]).any()


def test_coarsity_and_hash_are_those_of_the_tasks():
    testbed = make()
    assert (testbed.coarsity == coarsity(DISTANCES, testbed.episodes.classes)).all()
    assert testbed.sha256 == digest([testbed.episodes[:10], testbed.episodes[10:]])
    assert testbed.shape == (3, 2, 4)
    assert testbed.parameters == {"alpha": 0.3, "beta": 10}


def test_the_seed_decides():
    assert make().sha256 == make().sha256 != make(seed=2).sha256


def test_classes_do_not_depend_on_the_images():
    classes = make().episodes.classes
    assert (classes == make(shots=1, queries=1).episodes.classes).all()
    without = make(offsets=None)
    assert (classes == without.episodes.classes).all()
    assert without.classes_only and without.shape == (3, 0, 0)
    assert not make().classes_only


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 17}, "smallest class of this split has 20"),
        ({"shots": 0}, "--shots 0"),
        ({"ways": 9}, "--ways 9"),
        ({"alpha": -1}, "--alpha -1"),
        ({"beta": -1}, "--beta -1"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": -1, "offsets": None}, "--seed -1"),
    ],
)
def test_wrong_parameters_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        make(**change)


def test_testbed_of_other_images_is_refused():
    testbed = make(dataset="birds", split="test", fingerprint="abc")
    testbed.check_fits(OFFSETS, "abc")
    testbed.check_fits(OFFSETS)
    make().check_fits(OFFSETS, "anything")  # says nothing, so the rows alone are compared
    with pytest.raises(UserError, match=r"made for other images \(of birds test\)"):
        testbed.check_fits(OFFSETS, "abd")


def test_rows_outside_their_class_are_refused():
    testbed = make()
    with pytest.raises(UserError, match="is not of class"):
        testbed.check_fits(OFFSETS - OFFSETS[1] // 2)
    with pytest.raises(UserError, match="this split has 7"):
        testbed.check_fits(OFFSETS[:-1])
    query = testbed.episodes.query.copy()
    query[5, 3] += 400
    with pytest.raises(UserError, match=f"image {query[5, 3]} is not of class"):
        replace(testbed, episodes=replace(testbed.episodes, query=query)).check_fits(OFFSETS)
