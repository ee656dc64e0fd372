import base64
import json
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbench.benchmark.records import codec
from fewbench.benchmark.records.codec import Coded, Rough, decode, decode_rough, encode, encode_rough
from fewbench.core.decoding import decode as from_json
from fewbench.core.decoding import encode as to_json


def text_of(values):
    return json.dumps(to_json(encode(values)))


def through_json(values):
    return decode(from_json(Coded, json.loads(text_of(values))), len(values))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
def test_any_finite_values_come_back_bit_for_bit(values):
    values = np.array(values, dtype=np.float64)
    assert through_json(values).tobytes() == values.tobytes()


@pytest.mark.parametrize(("distinct", "dtype"), [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_codes_are_as_narrow_as_the_distinct_values_allow(distinct, dtype):
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(distinct) / 65_537, 2))
    assert encode(values).dtype == dtype
    assert through_json(values).tobytes() == values.tobytes()


def test_ten_thousand_episodes_take_less_than_a_byte_each():
    accuracies = np.random.default_rng(0).binomial(75, 0.6, 10_000) / 75
    assert len(text_of(accuracies)) < 10_000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_json_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        encode(np.array([0.5, value]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 4}, "it has 4 per-episode values for 3 episodes"),
        ({"values": (0.5,)}, "some that it does not list"),
        ({"values": ()}, "some that it does not list"),
        ({"codes": "not base64!"}, "base64"),
        ({"codes": base64.b64encode(b"not zlib").decode()}, "do not decode"),
        ({"codes": base64.b64encode(zlib.compress(b"\0\0\0")).decode(), "dtype": "uint16"}, "are not 3"),
        ({"codes": base64.b64encode(zlib.compress(b"\0\0\0\0")).decode()}, "are not 3"),
        ({"codes": base64.b64encode(zlib.compress(b"\0\0\0")[:-2]).decode()}, "are not 3"),
    ],
)
def test_damaged_content_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        decode(replace(encode(np.array([0.5, 1.0, 0.5])), **change), 3)


def test_no_more_is_unpacked_than_there_are_episodes():
    """What would unpack to 64 MiB: both codecs stop after the few bytes that they expect."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(2**6)) + packer.flush()
    text = base64.b64encode(packed).decode()
    tracemalloc.start()
    with pytest.raises(ValueError, match="are not 3"):
        decode(replace(encode(np.array([0.5, 1.0, 0.5])), codes=text), 3)
    with pytest.raises(ValueError, match="are not 3"):
        decode_rough(Rough("float32:zlib:base64", text), 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


def test_rough_values_come_back_as_float32():
    values = np.array([0.1, 40.5, 91.0])
    assert decode_rough(encode_rough(values), 3).tolist() == values.astype(np.float32).tolist()


def test_values_that_are_encoded_piece_by_piece_make_the_same_text(monkeypatch):
    values = np.random.default_rng(0).integers(0, 300, 1000) / 300
    whole = encode(values)
    monkeypatch.setattr(codec, "PIECE", 64)
    assert encode(values) == whole
    assert np.array_equal(decode(whole, 1000), values)
