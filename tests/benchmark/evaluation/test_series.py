import numpy as np
import pytest

from fewbench.benchmark.evaluation.series import Series


def test_what_comes_in_stands_in_its_order_and_room_is_made_once():
    series = Series.of(np.array([0.5]), seconds=1.0)
    series.make_room(5)
    held = series.held
    for piece in ([0.25, 0.75], [1.0]):
        series.add(np.array(piece), 0.5)
    series.make_room(5)
    assert series.held is held
    assert (len(series), series.seconds) == (4, 2.0)
    assert series.accuracies.tolist() == [0.5, 0.25, 0.75, 1.0]


def test_room_is_made_for_what_was_read_from_a_record():
    read = np.array([0.5, 1.0])
    read.flags.writeable = False
    series = Series.of(read)
    series.cut(wanted=4, chunk=1)
    series.make_room(2)
    series.cut(wanted=2, chunk=2)
    series.held[0] = 0.0  # which the record's own array does not see
    assert read[0] == 0.5


@pytest.mark.parametrize(("n", "wanted", "kept"), [(7, 10, 4), (8, 10, 8), (10, 10, 10), (12, 10, 10), (3, 3, 3)])
def test_whole_chunks_are_kept_and_a_finished_series_is_kept_whole(n, wanted, kept):
    series = Series.of(np.zeros(n))
    series.cut(wanted, chunk=4)
    assert len(series) == kept
