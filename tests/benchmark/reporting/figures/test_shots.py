import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fewbench.benchmark.reporting.figures.canvas import colours_of
from fewbench.benchmark.reporting.figures.shots import draw_shots, in_order, line_labels, lines_of
from fewbench.core.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
BLUE = "#0b5394"
COLOURS = colours_of(["protonet", "clip-zero-shot"])


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def places(svg, colour=BLUE):
    """Where points of a colour stand, from left to right: a marker is between the caps of its interval."""
    heights = {}
    for use in ElementTree.fromstring(svg).iter(f"{SVG}use"):
        if f"fill: {colour}" in use.get("style", ""):
            heights.setdefault(float(use.attrib["x"]), []).append(float(use.attrib["y"]))
    lowest = max(max(found) for found in heights.values())  # the legend's
    return sorted((x, float(np.median(found))) for x, found in heights.items() if lowest not in found)


def paths(svg, *styles):
    return [
        element
        for element in ElementTree.fromstring(svg).iter(f"{SVG}path")
        if all(style in element.get("style", "") for style in styles)
    ]


@pytest.fixture
def record(make_record):
    def make(name="protonet", shots=1, accuracies=(0.25, 0.5, 0.75), status="complete", method=None, backbone=None, **task):
        task = {"shots": shots, **task}
        return make_record(accuracies, name=name, status=status, task=task, method=method or {}, backbone=backbone or {})

    return make


def test_a_line_goes_through_the_shots_on_a_log_axis(record):
    accuracies = {1: (0.2, 0.4, 0.3), 2: (0.3, 0.5, 0.4), 8: (0.5, 0.7, 0.6)}
    # in any order
    found = places(draw_shots([record(shots=shots, accuracies=accuracies[shots]) for shots in (8, 1, 2)]))
    assert len(found) == 3
    (one, low), (two, middle), (eight, high) = found
    assert eight - two == pytest.approx(2 * (two - one), rel=1e-4)
    assert low > middle > high  # SVG counts downwards
    assert low - middle == pytest.approx((middle - high) / 2, rel=1e-3)


def test_the_shots_of_the_records_are_the_ticks(record):
    found = texts(draw_shots([record(shots=shots) for shots in (1, 3, 16)]))
    assert [text for text in found if text in ("1", "2", "3", "4", "8", "16")] == ["1", "3", "16"]
    assert not any("math" in text for text in found)
    title = " ".join(found)
    assert "omniglot, 5-way, " in title and "-shot" not in title.replace("zero-shot", "")


def test_a_method_without_support_is_a_dashed_line_with_a_band(record):
    records = [record(shots=shots) for shots in (1, 16)]
    plain = draw_shots(records)
    svg = draw_shots([*records, record("clip-zero-shot", accuracies=(0.6, 0.7, 0.8))])
    dashed = [path for path in paths(svg, "stroke-dasharray", f"stroke: {COLOURS['clip-zero-shot']}")]
    assert len(dashed) == 2 and not paths(plain, "stroke-dasharray")  # the line and its legend
    x = [float(number) for number in dashed[0].attrib["d"].replace("M", "").replace("L", "").split()][0::2]
    points = [x for x, _ in places(svg, COLOURS["protonet"])]
    assert min(x) < points[0] and max(x) > points[-1]  # through all shots, though its record is of one
    assert len(paths(svg, "opacity: 0.2", f"fill: {COLOURS['clip-zero-shot']}")) == 1
    assert "clip-zero-shot, conv4: no support" in texts(svg) and "protonet, conv4" in texts(svg)


def test_a_level_line_is_that_of_the_longest_run(record):
    longest = record("clip-zero-shot", shots=4, accuracies=(0.6, 0.7, 0.8, 0.7))
    short = record("clip-zero-shot", shots=1, accuracies=(0.1, 0.2, 0.3))
    rest = [record(shots=1), record(shots=4)]
    (line,) = lines_of([short, longest])
    assert line.level and line.records == (short, longest)

    def dashed(*records):
        return paths(draw_shots([*rest, *records]), "stroke-dasharray")[0].attrib["d"]

    assert dashed(short, longest) == dashed(longest) != dashed(short)


def test_what_makes_a_line(record):
    records = [
        record(shots=1),
        record("ridge", shots=1),
        record(shots=5),
        record(shots=1, method={"parameters": {"a": 1}}),
        record(shots=1, method={"text": {"prompts": "ensemble", "names_sha256": "names"}}),
        record(shots=1, backbone={"weights_sha256": "other"}),
        record(shots=1, backbone={"tune": "norm"}),
    ]
    lines = lines_of(records)
    assert [len(line.records) for line in lines] == [2, 1, 1, 1, 1, 1]
    assert lines[0].records == (records[0], records[2]) and lines[1].records == (records[1],)
    assert not any(line.level for line in lines)


def test_lines_of_one_method_stand_by_their_numbers(record):
    def read(number):
        return record(method={"parameters": {"a": number, "b": "text"}})

    records = [read(8.0), record("ridge"), read(16.0), read(1.0)]
    found = [line.records[0] for line in in_order(lines_of(records))]
    assert found == [records[3], records[0], records[2], records[1]]


def test_labels_say_more_where_lines_would_be_called_the_same(record):
    def read(prompts, names="a" * 64):
        return record("tip-adapter", method={"text": {"prompts": prompts, "prompts_sha256": prompts, "names_sha256": names}})

    records = [record(), record(backbone={"weights": "other", "weights_sha256": "other"}), read("single"), record("ridge")]
    weights = records[0].backbone.weights
    assert line_labels(lines_of(records)) == [
        f"protonet, conv4 (weights={weights})",
        "protonet, conv4 (weights=other)",
        f"tip-adapter, conv4 (weights={weights})",
        f"ridge, conv4 (weights={weights})",
    ]
    assert line_labels(lines_of([read("single"), read("ensemble"), read("ensemble", "b" * 64)])) == [
        "tip-adapter (prompts=single), conv4",
        "tip-adapter (class_names_sha256=aaaaaaaaaaaa, prompts=ensemble), conv4",
        "tip-adapter (class_names_sha256=bbbbbbbbbbbb, prompts=ensemble), conv4",
    ]


def test_of_two_runs_at_the_same_shots_the_longer_counts(record):
    short, long, equal = record(accuracies=(0.1, 0.2)), record(accuracies=(0.3, 0.4, 0.5)), record(accuracies=(0.6, 0.6, 0.6))
    assert lines_of([short, long])[0].records == lines_of([long, short])[0].records == (long,)
    assert lines_of([long, equal])[0].records == (long,)


def test_a_partial_run_is_named(record):
    assert line_labels(lines_of([record(shots=1), record(shots=5, status="partial")])) == ["protonet, conv4 (partial)"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ways": 20}, r"of several tasks.*\(differing in ways\)"),
        ({"queries": 5, "seed": 3}, r"differing in queries, seed"),
        ({"dataset": "trifeature"}, r"differing in dataset"),
        ({"shots": None}, r"its shots vary; give records of tasks with a fixed number of them"),
    ],
)
def test_other_tasks_are_refused(record, change, says):
    with pytest.raises(UsageError, match=says):
        draw_shots([record(), record(**{"shots": 5, **change})])


def test_bytes_depend_on_the_records_alone(record):
    records = [record(shots=1), record(shots=5), record("clip-zero-shot")]
    assert draw_shots(records) == draw_shots(records)
    assert draw_shots(records, "png").startswith(b"\x89PNG")


def test_one_shot_alone_is_drawn(record):
    assert len(places(draw_shots([record(shots=4)]))) == 1
    assert draw_shots([record("clip-zero-shot")]).startswith(b"<?xml")
