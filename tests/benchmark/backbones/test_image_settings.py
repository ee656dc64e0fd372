import pytest

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.image_settings import apart, changed_by
from fewbench.core.errors import UsageError

BEFORE = Preprocess(3, 84, (0.125, 0.25, 0.375), (0.25, 0.5, 0.75))


def test_settings_of_images_and_of_the_network_are_told_apart():
    settings = {"size": "64", "width": "8", "mean": "0.5"}
    assert apart(settings, own=()) == ({"size": "64", "mean": "0.5"}, {"width": "8"})
    assert apart(settings, own=("width", "size")) == ({"mean": "0.5"}, {"size": "64", "width": "8"})


@pytest.mark.parametrize(
    ("settings", "after", "recorded"),
    [
        ({}, BEFORE, {}),
        ({"size": "64"}, Preprocess(3, 64, BEFORE.mean, BEFORE.std), {"size": 64}),
        ({"mean": "0.5"}, Preprocess(3, 84, (0.5, 0.5, 0.5), BEFORE.std), {"mean": 0.5}),
        ({"std": 1}, Preprocess(3, 84, BEFORE.mean, (1.0, 1.0, 1.0)), {"std": 1.0}),
        ({"mean": "0.1,0.2,0.3"}, Preprocess(3, 84, (0.1, 0.2, 0.3), BEFORE.std), {"mean": [0.1, 0.2, 0.3]}),
        ({"mean": [0.1, 0.2, 0.3]}, Preprocess(3, 84, (0.1, 0.2, 0.3), BEFORE.std), {"mean": [0.1, 0.2, 0.3]}),
        ({"channels": "1"}, Preprocess(1, 84, (0.25,), (0.5,)), {"channels": 1}),
    ],
)
def test_what_is_set_replaces_what_was(settings: dict, after: Preprocess, recorded: dict):
    assert changed_by(BEFORE, settings, "backbone b") == (after, recorded)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "0"}, "size=0: a whole number of at least 1"),
        ({"size": "84.5"}, "size=84.5: a whole number of at least 1"),
        ({"size": "big"}, "size=big: a whole number of at least 1"),
        ({"size": "1000000000"}, "size=1000000000: 1 to 4,096"),
        ({"channels": "2"}, "channels=2: 1 or 3"),
        ({"mean": "grey"}, "mean=grey: one number for every channel, or one each, such as 0.5,0.5,0.5"),
        ({"mean": "1,2"}, "mean=1,2: one number or 3, one a channel"),
        ({"mean": "1e999"}, "mean=1e999: one number for every channel, or one each, such as 0.5,0.5,0.5"),
        ({"std": "0.1,0,0.1"}, "std=0.1, 0, 0.1: above 0"),
        ({"std": ""}, "std=: one number for every channel, or one each, such as 0.5,0.5,0.5"),
    ],
)
def test_a_value_out_of_range_is_one_line(settings: dict, message: str):
    with pytest.raises(UsageError) as caught:
        changed_by(BEFORE, settings, "backbone b")
    assert str(caught.value) == f"backbone b: {message}"
