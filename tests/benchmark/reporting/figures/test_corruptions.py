import re
import xml.etree.ElementTree as ElementTree

import pytest

from fewbench.benchmark.reporting.figures.corruptions import draw_corruptions, lines_of
from fewbench.core.errors import UsageError, UserError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def points_of(svg, colour):
    """Places of the markers of a line, for every panel that has one."""
    found = re.findall(rf'<path d="(M [^"]*)" clip-path="[^"]*" style="fill: none; stroke: {colour}[^"]*stroke-linecap', svg)
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in found]


@pytest.fixture
def record(make_record):
    """A function that makes a record of corrupted images, or without a corruption of clean ones."""

    def make(accuracies, corruption=None, severity=0, version=1, clean="c" * 64, name="protonet", **sections):
        task = {"fingerprint": clean, **sections.pop("task", {})}
        if corruption is not None:
            section = {"name": corruption, "severity": severity, "version": version, "clean_fingerprint": clean}
            task |= {"corruption": section, "fingerprint": f"{severity}{corruption[0]}".ljust(64, "0")}
        return make_record(accuracies, name=name, task=task, **sections)

    return make


def test_there_is_a_panel_a_corruption_with_the_clean_run_in_each(record):
    records = [
        record([0.9, 0.9]),
        record([0.7, 0.7], "noise", 1),
        record([0.5, 0.5], "noise", 3),
        record([0.6, 0.6], "blur", 2),
    ]
    svg = draw_corruptions(records).decode()
    found = texts(svg)
    assert [text for text in found if text in ("noise", "blur", "jpeg")] == ["noise", "blur"]
    assert "omniglot, 5-way 1-shot, 15 queries, uniform sampler, test split, seed 0" in " ".join(found)
    assert "corruption" not in " ".join(found)
    assert sum("protonet" in text for text in found) == 1  # in the legend
    lengths = sorted(len(line) for line in points_of(svg, "#0b5394"))
    assert {2, 3} <= set(lengths)


def test_a_line_falls_where_the_accuracy_does(record):
    records = [record([a, a], "noise", s) for s, a in ((1, 0.9), (2, 0.7), (3, 0.7), (5, 0.2))]
    lines = [line for line in points_of(draw_corruptions(records).decode(), "#0b5394") if len(line) == 4]
    ((one, two, three, five),) = lines
    assert one[1] < two[1] == three[1] < five[1]  # the vertical axis of SVG points down
    assert five[0] - three[0] == pytest.approx(2 * (two[0] - one[0]), rel=1e-3)


def test_methods_backbones_and_weights_have_lines_of_their_own(record):
    records = [
        record([0.5, 0.6], "noise", 1),
        record([0.5, 0.6], "noise", 2),
        record([0.5, 0.6], "noise", 1, name="ridge"),
        record([0.5, 0.6], "noise", 1, backbone={"weights_sha256": "1" * 64}),
        record([0.5, 0.6], "noise", 1, method={"parameters": {"scale": 2.0}}),
    ]
    assert [len(line) for line in lines_of(records)] == [2, 1, 1, 1]


def test_of_two_runs_on_the_same_images_the_longer_counts(record):
    short, long = record([0.5, 0.5], "noise", 1), record([0.5, 0.5, 0.8], "noise", 1)
    assert lines_of([short, long]) == lines_of([long, short]) == [{("noise", 1): long}]


def test_a_partial_run_is_marked(record):
    records = [record([0.5, 0.6], "noise", 1), record([0.5, 0.6], "noise", 2, status="partial")]
    assert any(text.endswith("(partial)") for text in texts(draw_corruptions(records)))


def test_the_same_records_give_the_same_bytes(record):
    records = [record([0.9, 0.8]), *(record([0.5, 0.6], name, 2) for name in ("noise", "blur", "jpeg", "grey"))]
    for form, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        drawn = draw_corruptions(records, form)
        assert drawn.startswith(start) and drawn == draw_corruptions(records, form)


@pytest.mark.parametrize(
    ("task", "differing"), [({"shots": 5}, "shots"), ({"seed": 1}, "seed"), ({"sampler": "imbalanced"}, "sampler")]
)
def test_other_tasks_are_refused(record, task, differing):
    with pytest.raises(UsageError, match=rf"differing in {differing}\)"):
        draw_corruptions([record([0.5]), record([0.5], "noise", 1, task=task)])


def test_other_images_are_refused(record):
    for records in ([record([0.5], clean="d" * 64)], [record([0.5], "blur", 1, clean="d" * 64)]):
        with pytest.raises(UsageError, match="of different images"):
            draw_corruptions([*records, record([0.5], "noise", 1)])


def test_other_code_of_the_corruption_is_refused(record):
    with pytest.raises(UserError, match="different versions of fewbench"):
        draw_corruptions([record([0.5], "noise", 1), record([0.5], "noise", 2, version=2)])


def test_clean_runs_alone_are_refused(record):
    with pytest.raises(UsageError, match=r"^no record is of corrupted images; give those of bench run --corruption"):
        draw_corruptions([record([0.5])])
