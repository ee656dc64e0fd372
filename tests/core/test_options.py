from dataclasses import dataclass, field
from typing import ClassVar, Literal, Optional

import pytest

from fewbench.core.errors import UsageError
from fewbench.core.kinds import convert
from fewbench.core.options import Declared, Options, Parameter, build, parameter, parameters_of, parse_assignments, typed_values
from fewbench.core.ranges import LARGEST_COUNT, LARGEST_SEED, Range


@dataclass(frozen=True)
class Example:
    steps: int = parameter(10, "gradient steps")
    rate: float = parameter(0.5, "learning rate")
    norm: Literal["l1", "l2"] = parameter("l2", "which norm")
    limit: int | None = parameter(None, "most of them")
    fast: bool = False
    kind: ClassVar[str] = "not a parameter"
    made: int = field(default=0, init=False)


def test_parameters_are_the_fields_with_their_types_defaults_and_help():
    listed = parameters_of(Example)
    assert [p.name for p in listed] == ["steps", "rate", "norm", "limit", "fast"]
    assert listed[0] == Parameter("steps", int, 10, "gradient steps")
    assert [p.type_name for p in listed] == ["int", "float", "'l1' | 'l2'", "int | None", "bool"]
    assert listed[4].help == ""
    assert parameters_of(int) == []


def test_text_becomes_the_declared_types():
    values = {"steps": "3", "rate": "1e-2", "norm": "l1", "limit": "7", "fast": "yes"}
    assert build(Example, values, "it") == Example(3, 0.01, "l1", 7, True)
    assert build(Example, {"limit": "none"}, "it").limit is None
    assert build(Example, {}, "it") == Example()


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("5", int, 5),
        (5.0, int, 5),
        ("-2", int, -2),
        (3, float, 3.0),
        ("OFF", bool, False),
        (True, bool, True),
        ("1", bool, True),
        ("none", str | None, None),
        ("None", Optional[int], None),  # noqa: UP045
        (None, int | None, None),
        ("text", int | str, "text"),
        ("4", int | str, 4),
        ("none", str, "none"),
    ],
)
def test_values_that_fit(value, kind, expected):
    converted = convert(value, kind)
    assert converted == expected and type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("5.5", int),
        (5.5, int),
        (float("inf"), int),
        (float("nan"), int),
        ("nan", float),
        ("inf", float),
        (float("nan"), float | None),
        ("1e3", int),
        (True, int),
        (True, float),
        ("many", float),
        ("maybe", bool),
        (2, bool),
        ("l3", Literal["l1", "l2"]),
        (3, str),
        ("x", int | None),
        ([1], str),
        ([1], Literal["l1", "l2"]),
        ("none", int),
        ("(1, 2)", tuple[int, int]),
    ],
)
def test_values_that_do_not_fit(value, kind):
    with pytest.raises(ValueError):
        convert(value, kind)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, None])
@pytest.mark.parametrize("kind", [int, float])
def test_a_list_is_no_number(value, kind):
    with pytest.raises(ValueError):
        convert(value, kind)


def test_an_unknown_parameter_gets_the_nearest_and_the_list():
    with pytest.raises(UsageError) as caught:
        build(Example, {"step": "3"}, "method example")
    assert str(caught.value) == (
        "method example has no parameter 'step'; did you mean 'steps'? It has: steps (int, default 10), "
        "rate (float, default 0.5), norm ('l1' | 'l2', default l2), limit (int | None, default None), "
        "fast (bool, default False)"
    )


def test_one_parameter_or_none_is_told_without_guessing():
    one = {"steps": Parameter("steps", int, 10, "")}
    with pytest.raises(UsageError, match=r"x has no parameter 'y'; it has steps \(int, default 10\)$"):
        typed_values(one, {"y": 1}, "x")
    with pytest.raises(UsageError, match=r"x has no parameter 'y'; it has none$"):
        typed_values({}, {"y": 1}, "x")


def test_a_wrong_type_is_told_with_the_right_one():
    with pytest.raises(UsageError, match=r"^method example: rate=fast: not a number$"):
        build(Example, {"rate": "fast"}, "method example")
    with pytest.raises(UsageError, match=r"^method example: norm=l3: not l1 or l2$"):
        build(Example, {"norm": "l3"}, "method example")


def test_a_parameter_without_a_default_must_be_given():
    @dataclass(frozen=True)
    class Needs:
        steps: int

    assert build(Needs, {"steps": "2"}, "method needs").steps == 2
    with pytest.raises(UsageError, match=r"method needs .*steps"):
        build(Needs, {}, "method needs")


def test_assignments_are_split_at_the_first_equals_sign():
    assert parse_assignments([" a = 1 ", "b=c=d", "e="]) == {"a": "1", "b": "c=d", "e": ""}
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["a", "=1", " =1", ""])
def test_what_is_no_assignment_is_told(text):
    with pytest.raises(UsageError, match="is not of the form name=value"):
        parse_assignments([text])


@dataclass(frozen=True)
class Ranged(Declared):
    steps: int = parameter(10, "gradient steps", minimum=1, maximum=LARGEST_COUNT)
    rate: float | Literal["auto"] = parameter("auto", "learning rate", above=0)
    share: float = parameter(0.5, "of the images", minimum=0, below=1)
    seed: int = parameter(0, "of the episodes", minimum=0, maximum=LARGEST_SEED)


OUTSIDE = {
    "steps=0: at least 1": {"steps": 0},
    "steps=1000000001: at most 1,000,000,000": {"steps": 10**9 + 1},
    "rate=-1: above 0": {"rate": -1.0},
    "rate=0: above 0": {"rate": 0},
    "share=1: from 0 to below 1": {"share": 1.0},
    "share=nan: not a finite number": {"share": float("nan")},
    "seed=-1: from 0 to 2^64 - 1": {"seed": -1},
    "steps=True: not a whole number": {"steps": True},
    "steps=3: not a whole number": {"steps": "3"},
    "rate=much: not a number or auto": {"rate": "much"},
    "steps=a number of thousands of digits: at most 1,000,000,000": {"steps": 10**5000},
}


@pytest.mark.parametrize("says", OUTSIDE)
def test_no_instance_has_a_value_that_is_out_of_range(says: str):
    with pytest.raises(UsageError) as caught:
        Ranged(**OUTSIDE[says])
    assert str(caught.value) == f"Ranged: {says}"
    Ranged(steps=10**9, rate=1e-9, share=0.0, seed=2**64 - 1)


@pytest.mark.parametrize("text", ["0", "-3", "1e9999", "9" * 400, "9" * 5000])
def test_text_is_checked_against_the_range_too_and_repeated_in_short(text: str):
    with pytest.raises(UsageError, match=r"^method x: (steps|rate)=") as caught:
        build(Ranged, {"rate" if "e" in text else "steps": text}, "method x")
    assert len(str(caught.value)) < 150


def test_options_are_named_as_they_are_typed():
    @dataclass(frozen=True)
    class Many(Options):
        val_ways: int = parameter(5, "classes", minimum=2)

    with pytest.raises(UsageError, match=r"^--val-ways 1: at least 2$"):
        Many(val_ways=1)


def test_a_range_reads_as_a_phrase():
    assert [str(one) for one in (Range(minimum=1), Range(above=0), Range(above=0, maximum=1), Range(above=0, below=1))] == [
        "at least 1", "above 0", "above 0 and at most 1", "above 0 and below 1",
    ]  # fmt: skip
