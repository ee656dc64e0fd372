import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbench.benchmark.records.codec import decode, encode


def through_json(values):
    return decode(json.loads(json.dumps(encode(values))))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
def test_any_finite_values_come_back_bit_for_bit(values):
    values = np.array(values, dtype=np.float64)
    assert through_json(values).tobytes() == values.tobytes()


@pytest.mark.parametrize(("distinct", "dtype"), [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_codes_are_as_narrow_as_the_distinct_values_allow(distinct, dtype):
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(distinct) / 65_537, 2))
    assert encode(values)["dtype"] == dtype
    assert through_json(values).tobytes() == values.tobytes()


def test_ten_thousand_episodes_take_less_than_a_byte_each():
    accuracies = np.random.default_rng(0).binomial(75, 0.6, 10_000) / 75
    assert len(json.dumps(encode(accuracies))) < 10_000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_json_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        encode(np.array([0.5, value]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "rot13"}, "unknown encoding 'rot13'"),
        ({"n": 4}, "has 3 per-episode accuracies and says 4"),
        ({"values": [0.5]}, "values that it does not list"),
        ({"values": []}, "values that it does not list"),
        ({"values": [[0.5], [1.0]]}, "values that it does not list"),
        ({"values": [10**400, 0.5]}, "do not decode"),
        ({"values": {"a": 1}}, "do not decode"),
        ({"codes": "not base64!"}, "base64"),
        ({"codes": base64.b64encode(b"not zlib").decode()}, "do not decode"),
        ({"codes": 7}, "do not decode"),
        ({"codes": base64.b64encode(zlib.compress(b"\0\0\0")).decode(), "dtype": "uint16"}, "buffer size"),
        ({"dtype": "float64"}, "do not decode"),
    ],
)
def test_damaged_content_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        decode({**encode(np.array([0.5, 1.0, 0.5])), **change})


def test_a_missing_part_is_named():
    encoded = encode(np.array([0.5]))
    del encoded["codes"]
    with pytest.raises(ValueError, match="codes"):
        decode(encoded)
