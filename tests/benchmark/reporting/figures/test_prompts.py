import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fewbench.benchmark.records.statistics import paired_difference
from fewbench.benchmark.reporting.figures.prompts import check_prompts, draw_prompts
from fewbench.core.errors import UsageError, UserError

SVG = "{http://www.w3.org/2000/svg}"
SINGLE = [0.2, 0.4, 0.6, 0.4]


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def points(svg):
    """Where points stand, (x, y) from left to right and top to bottom: a marker is between the caps of its interval."""
    found = {}
    for use in ElementTree.fromstring(svg).iter(f"{SVG}use"):
        if "fill: #0b5394" in use.get("style", ""):
            found.setdefault(float(use.attrib["y"]), []).append(float(use.attrib["x"]))
    return {y: sorted(x) for y, x in found.items()}


@pytest.fixture
def record(make_record):
    def make(prompts="single", accuracies=SINGLE, names="names", parameters=None, status="complete", backbone=None, **task):
        text = {"prompts": prompts, "prompts_sha256": f"of {prompts}", "names_sha256": names}
        sections = {"method": {"text": text, "parameters": parameters or {}}, "task": task, "backbone": backbone or {}}
        return make_record(accuracies, name="clip-zero-shot", status=status, **sections)

    return make


def test_rows_are_named_by_their_prompts_under_the_task(record):
    found = texts(draw_prompts([record(), record("ensemble", [0.4, 0.4, 0.8, 0.4]), record("mine.txt", status="partial")]))
    assert [text for text in found if text in ("single", "ensemble", "mine.txt (partial)")] == [
        "single",
        "ensemble",
        "mine.txt (partial)",
    ]
    assert "clip-zero-shot" in " ".join(found) and "omniglot, 5-way 1-shot" in " ".join(found)
    assert "accuracy (%)" in found and "difference to single (points)" in found


def test_differences_are_paired_and_stand_in_the_rows_of_all_but_the_single(record):
    better, noisy = [a + 0.1 for a in SINGLE], [0.6, 0.2, 0.4, 0.4]
    svg = draw_prompts([record(), record("better", better), record("noisy", noisy)])
    single, first, second = (points(svg)[y] for y in sorted(points(svg)))
    # three marks an interval: its ends and its mean; one interval in the row of the single prompt, two in the others
    assert len(single) == 3 and len(first) == len(second) == 6
    expected = [paired_difference(a, SINGLE) for a in (better, noisy)]
    assert expected[0].half_width == pytest.approx(0, abs=1e-12)
    assert first[5] - first[3] == pytest.approx(0, abs=1e-3)  # always 0.1 better: no width, though the accuracies vary
    panel = [x - second[4] for x in second[3:]]
    assert panel[2] == pytest.approx(-panel[0], abs=1e-3)
    width_of_one = (second[4] - first[4]) / (expected[1].mean - expected[0].mean)
    assert panel[2] == pytest.approx(width_of_one * expected[1].half_width, rel=1e-3)


def test_runs_of_unequal_length_are_compared_on_their_common_episodes(record):
    svg = draw_prompts([record(accuracies=[*SINGLE, 1.0, 1.0]), record("better", [a + 0.1 for a in SINGLE])])
    row = points(svg)[max(points(svg))]
    assert row[5] - row[3] == pytest.approx(0, abs=1e-3)


def test_the_single_prompt_may_stand_anywhere(record):
    single = record()
    assert check_prompts([record("ensemble"), single]) is single


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parameters": {"scale": 2.0}}, r"differ in more than their prompts \(method\.parameters\)"),
        ({"names": "other"}, r"differ in more than their prompts \(class names\)"),
        (
            {"backbone": {"weights_sha256": "other"}},
            r"differ in more than their prompts \(backbone\.weights_sha256\): clip-zero-shot \(.*, and clip-zero",
        ),
        ({"shots": 5}, r"of several tasks.*differing in shots"),
    ],
)
def test_records_that_differ_otherwise_are_refused(record, changes, says):
    with pytest.raises(UsageError, match=says):
        draw_prompts([record(), record("ensemble", **changes)])


def test_another_method_is_refused(record, make_record):
    other = make_record(
        SINGLE, name="tip-adapter", method={"text": record("ensemble").content["method"]["text"], "name": "tip-adapter"}
    )
    labels = r"clip-zero-shot, conv4, and tip-adapter \(prompts=ensemble\), conv4"
    with pytest.raises(UsageError, match=rf"prompts \(method\): {labels}"):
        draw_prompts([record(), other])


def test_a_method_without_prompts_is_refused(record, make_record, altered):
    with pytest.raises(UsageError, match=r"^protonet, conv4 uses no prompts"):
        draw_prompts([record(), make_record(SINGLE)])
    named = altered(record(), method={"text": {"names_sha256": "names"}})  # as of a method that learns its prompts
    with pytest.raises(UsageError, match="uses no prompts"):
        draw_prompts([record(), named])


def test_prompts_that_come_twice_are_refused(record):
    with pytest.raises(UsageError, match=r"^several of the records have the prompts 'ensemble'; give one of each set$"):
        draw_prompts([record(), record("ensemble"), record("ensemble")])


def test_without_the_single_prompt_or_another_there_is_no_difference(record):
    with pytest.raises(UsageError, match="give a record with --prompts single too"):
        draw_prompts([record("ensemble"), record("mine.txt")])
    with pytest.raises(UsageError, match="give a record with other prompts"):
        draw_prompts([record()])


def test_other_episodes_are_an_error(record):
    with pytest.raises(UserError, match="drew different episodes"):
        draw_prompts([record(), record("ensemble", episodes_sha256="0" * 64)])


def test_one_episode_has_no_interval(record):
    assert len(points(draw_prompts([record(accuracies=[0.5]), record("ensemble", [0.75])]))) == 2


def test_bytes_depend_on_the_records_alone(record):
    records = [record(), record("ensemble", list(np.array(SINGLE) / 2))]
    assert draw_prompts(records) == draw_prompts(records)
    assert draw_prompts(records, "png").startswith(b"\x89PNG")
