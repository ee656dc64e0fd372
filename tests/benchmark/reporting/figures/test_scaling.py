import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fewbench.benchmark.reporting.figures.canvas import colours_of
from fewbench.benchmark.reporting.figures.scaling import draw_scaling, milliseconds_an_image
from fewbench.core.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


COLOURS = colours_of("abc")


def places(svg, colour):
    """Where points of a colour stand in the panels, from left to right: a marker is between the caps of its interval."""
    heights = {}
    for use in ElementTree.fromstring(svg).iter(f"{SVG}use"):
        if f"fill: {colour}" in use.get("style", ""):
            heights.setdefault(float(use.attrib["x"]), []).append(float(use.attrib["y"]))
    lowest = max(max(found) for found in heights.values())  # the legend's
    return sorted((x, np.median(found)) for x, found in heights.items() if lowest not in found)


@pytest.fixture
def record(make_record):
    def make(name="protonet", parameters=1000, milliseconds=2.0, accuracies=(0.25, 0.5), status="complete", **task):
        encoding = {
            "images": 500,
            "seconds": (milliseconds or 0) / 2,
            "device": "cpu",
            "device_name": "a CPU",
            "precision": "fp32",
        }
        return make_record(
            accuracies,
            name=name,
            status=status,
            task=task,
            backbone={"network_parameters": parameters},
            timing={"encoding": None if milliseconds is None else encoding},
        )

    return make


def test_the_time_is_that_of_an_image(record):
    assert milliseconds_an_image(record(milliseconds=2.5)) == pytest.approx(2.5)
    assert milliseconds_an_image(record(milliseconds=None)) is None
    assert milliseconds_an_image(record(milliseconds=0)) is None  # it has no place on a log axis


def test_costs_stand_on_log_axes(record):
    # Three runs that look alike but for colour: in each panel a factor of ten is one and the same distance.
    svg = draw_scaling([record("a", 10**4, 1.0), record("b", 10**5, 10.0), record("c", 10**6, 100.0)])
    x = np.array([[x for x, _ in places(svg, colour)] for colour in COLOURS.values()])
    assert x.shape == (3, 2)
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=1e-3) and (x[1] > x[0]).all()


def test_ticks_are_plain_numbers(record):
    found = texts(draw_scaling([record("a", 150_000, 0.2), record("b", 2_500_000, 8.0)]))
    assert {"100k", "300k", "1M", "3M", "0.1", "0.3", "1", "3", "10"} <= set(found)
    assert not any("math" in text for text in found)


def test_a_better_run_stands_higher_at_the_same_height_in_both_panels(record):
    svg = draw_scaling([record("a", accuracies=(0.2, 0.4)), record("b", accuracies=(0.6, 0.8))])
    worse, better = places(svg, COLOURS["a"]), places(svg, COLOURS["b"])
    assert worse[0][1] == worse[1][1] > better[0][1] == better[1][1]  # SVG counts downwards


def test_runs_are_named_under_the_title_of_their_task(record):
    found = texts(draw_scaling([record("a"), record("b", status="partial")]))
    assert [text for text in found if "conv4" in text] == ["a, conv4", "b, conv4 (partial)"]
    assert "omniglot, 5-way 1-shot" in " ".join(found)
    assert "(a CPU)" in " ".join(found)


def test_runs_on_several_devices_say_on_which(record, altered):
    encoding = {**record("b").content["timing"]["encoding"], "device_name": None, "device": "cuda"}
    other = altered(record("b"), timing={"encoding": encoding})
    found = texts(draw_scaling([record("a"), other]))
    assert [text for text in found if "conv4" in text] == ["a, conv4, on a CPU", "b, conv4, on cuda"]


def test_a_run_without_a_time_stands_in_one_panel(record):
    svg = draw_scaling([record("a", milliseconds=None), record("b")])
    assert (len(places(svg, COLOURS["a"])), len(places(svg, COLOURS["b"]))) == (1, 2)
    assert not any("milliseconds" in text for text in texts(draw_scaling([record("a", milliseconds=None)])))


def test_several_tasks_are_refused(record):
    with pytest.raises(UsageError, match=r"of several tasks: omniglot, 5-way 1-shot.*, and omniglot, .*differing in shots"):
        draw_scaling([record("a"), record("b", shots=5)])


def test_bytes_depend_on_the_records_alone(record):
    records = [record("a"), record("b", 2000)]
    assert draw_scaling(records) == draw_scaling(records)
    assert draw_scaling(records) != draw_scaling(records[::-1])


def test_a_png_is_one(record):
    assert draw_scaling([record()], "png").startswith(b"\x89PNG")
