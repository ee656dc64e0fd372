import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from fewbench.core.decoding import DEEPEST, Undecodable, decode


@dataclass(frozen=True)
class Inner:
    name: str
    share: float


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    words: tuple[str, ...]
    pair: tuple[int, str]
    table: dict[str, Inner]
    kind: Literal["a", "b"]
    free: dict[str, Any]
    absent: float | None = None
    flag: bool = False


GOOD: dict[str, Any] = {
    "count": 3,
    "inner": {"name": "x", "share": 1},
    "words": ["a", "ü"],
    "pair": [1, "z"],
    "table": {"k": {"name": "y", "share": 0.5}},
    "kind": "a",
    "free": {"any": [1, None, {"deep": True}]},
}


def test_every_type_is_read():
    made = decode(Outer, json.loads(json.dumps({**GOOD, "further": "key"})))
    assert made == Outer(3, Inner("x", 1.0), ("a", "ü"), (1, "z"), {"k": Inner("y", 0.5)}, "a", GOOD["free"])
    assert isinstance(made.inner.share, float) and isinstance(made.words, tuple)
    assert decode(Outer, {**GOOD, "absent": 2, "flag": True}).absent == 2.0
    assert decode(Outer, {**GOOD, "absent": None}).absent is None


def deep(levels: int) -> list[Any]:
    content: list[Any] = []
    for _ in range(levels):
        content = [content]
    return content


BAD = {
    "count is not a whole number": {"count": 3.0},
    "count is not a whole number, but true": {"count": True},
    "inner is not a section": {"inner": []},
    "inner.name is missing": {"inner": {"share": 1}},
    "inner.share is not a number": {"inner": {"name": "x", "share": "1"}},
    "inner.share is not a finite number": {"inner": {"name": "x", "share": float("nan")}},
    "inner.share is not a finite number, 10^400": {"inner": {"name": "x", "share": 10**400}},
    "inner.name is not Unicode text": {"inner": {"name": "\ud800", "share": 1}},
    "words is not a list": {"words": "ab"},
    "words[1] is not text": {"words": ["a", 2]},
    "pair has 1 elements, not 2": {"pair": [1]},
    "table.k.share is missing": {"table": {"k": {"name": "x"}}},
    "kind is not one of a, b": {"kind": "c"},
    "free.x is not a finite number": {"free": {"x": float("inf")}},
    "free.x": {"free": {"x": deep(DEEPEST)}},
    "absent is not a number": {"absent": "none"},
    "flag is not true or false": {"flag": 1},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_wrong_is_named(message: str):
    with pytest.raises(Undecodable) as caught:
        decode(Outer, {**GOOD, **BAD[message]})
    assert str(caught.value).startswith(message.split(",")[0] if "elements" not in message else message)


def test_a_place_in_the_file_is_named():
    with pytest.raises(Undecodable, match=r"^metadata\.name is missing$"):
        decode(Inner, {"share": 1.0}, "metadata")
    for content in (None, 1, "x", []):
        with pytest.raises(Undecodable, match="the content is not a section"):
            decode(Inner, content)
