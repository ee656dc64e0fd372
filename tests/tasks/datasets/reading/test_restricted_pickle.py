import codecs
import fractions
import os
import pickle
import subprocess
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbench.core.errors import UserError
from fewbench.tasks.datasets.reading.restricted_pickle import load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(plain, st.sampled_from(PROTOCOLS))
def test_plain_values_come_back(value, protocol):
    assert load_pickle(pickle.dumps(value, protocol), "x") == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(["robin", "goose"]),
        np.array([True, False]),
        np.array(7),
        np.empty((0, 3), np.float32),
    ],
)
def test_arrays_come_back_with_type_and_shape(array, protocol):
    loaded = load_pickle(pickle.dumps({"a": [array, array]}, protocol), "x")["a"]
    for copy in loaded:
        assert copy.dtype == array.dtype
        np.testing.assert_array_equal(copy, array, strict=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_of_numpy_become_numbers(protocol):
    assert load_pickle(pickle.dumps([np.float64(2.5), np.int64(-3)], protocol), "x") == [2.5, -3]


def test_lists_that_are_one_stay_one_and_may_hold_themselves():
    inner: list[Any] = [1]
    loaded = load_pickle(pickle.dumps([inner, inner]), "x")
    assert loaded[0] is loaded[1]
    inner.append(inner)
    circle = load_pickle(pickle.dumps(inner), "x")
    assert circle[1] is circle


def test_python_2_strings_are_latin_1_and_arrays_arrays(python_2_pickle):
    images = np.arange(600, dtype=np.uint8).reshape(2, 10, 10, 3)
    value = {"class_dict": {"n01532829": [0, 1], "é" * 200: [2]}, "image_data": images, "numbers": np.arange(-2, 3)}
    loaded = load_pickle(python_2_pickle(value), "x")
    assert loaded["class_dict"] == value["class_dict"]
    np.testing.assert_array_equal(loaded["image_data"], images, strict=True)
    np.testing.assert_array_equal(loaded["numbers"], value["numbers"], strict=True)


def test_array_data_are_views_of_the_content(python_2_pickle):
    content = python_2_pickle({"image_data": np.arange(1000, dtype=np.uint8)})
    base: Any = load_pickle(content, "x")["image_data"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert base.obj is content


def test_a_pickle_may_stand_within_other_bytes():
    inner = pickle.dumps([1, 2])
    assert load_pickle(b"abc" + inner + b"def", "x", 3, 3 + len(inner)) == [1, 2]


class Command:
    def __reduce__(self):
        return os.system, ("touch escaped",)


class State:
    def __setstate__(self, state):
        raise AssertionError("called")

    def __getstate__(self):
        return {"a": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Command(), "system"),
        (os.system, "system"),
        (subprocess.Popen, "Popen"),
        (State(), ""),
        ({1, 2}, ""),
        (fractions.Fraction(1, 2), "Fraction"),
        (complex(1, 2), "complex"),
        (codecs.lookup, "lookup"),
        (np.ndarray, "ndarray"),
        (np.array([Command()], object), "O8"),
        (np.zeros(2, [("a", "i4")]), ""),
        (np.array("2020-01-01", "M8[D]"), "M8"),
    ],
)
def test_everything_else_is_refused_in_one_line_and_nothing_is_called(value, named, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cache\.pkl: this pickle holds .*only numpy arrays, lists") as caught:
        load_pickle(pickle.dumps([value], protocol), "cache.pkl")
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_codes_that_make_instances_are_refused():
    for code in (b"(ios\nsystem\n.", b"Pid\n.", b"\x82\x01.", b"\xff."):
        with pytest.raises(UserError, match="this pickle holds"):
            load_pickle(code, "x")


def test_the_few_calls_admitted_take_nothing_strange():
    for arguments in (b"(K\x01K\x02t", b"(Vx\nVutf-7\nt", b")"):
        with pytest.raises(UserError, match="damaged"):
            load_pickle(b"c_codecs\nencode\n" + arguments + b"R.", "x")


VALUE = {"image_data": np.arange(48, dtype=np.uint8).reshape(2, 4, 2, 3), "class_dict": {"n01": [0, 1]}, "n": np.int64(3)}


@given(st.sampled_from(PROTOCOLS), st.integers(min_value=0), st.binary(min_size=0, max_size=3))
def test_damaged_pickles_give_one_line_or_a_value(protocol, place, patch):
    content = pickle.dumps(VALUE, protocol)
    place %= len(content)
    for damaged in (content[:place], content[:place] + patch + content[place + len(patch) :]):
        try:
            load_pickle(damaged, "x")
        except UserError as error:
            assert "\n" not in str(error)
