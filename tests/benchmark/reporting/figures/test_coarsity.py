import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fewbench.benchmark.reporting.figures.coarsity import draw_coarsity

SVG = "{http://www.w3.org/2000/svg}"
COARSITY = np.linspace(10, 90, 600)


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def faint_dots(svg):
    return sum("opacity: 0.3" in element.get("style", "") for element in ElementTree.fromstring(svg).iter(f"{SVG}use"))


@pytest.fixture
def record(make_record, coarse):
    def make(name="protonet", status="complete", episodes=600, accuracies=None, **task):
        accuracies = np.resize([0.25, 0.5], episodes) if accuracies is None else accuracies
        return make_record(accuracies, name=name, status=status, task=coarse(COARSITY[:episodes], **task))

    return make


def test_runs_of_one_task_share_its_title(record):
    found = texts(draw_coarsity([record("a"), record("b", status="partial")]))
    assert [text for text in found if "conv4" in text] == ["a, conv4", "b, conv4 (partial)"]
    assert "omniglot, 5-way 1-shot" in " ".join(found)


def test_runs_of_several_tasks_say_which_is_whose(record):
    found = " ".join(texts(draw_coarsity([record("a"), record("b", shots=5)])))
    assert "a, conv4; 1-shot b, conv4; 5-shot" in found


def test_the_line_stands_at_the_means_of_the_quartiles(record):
    # Accuracy 20 % in the finest half and 80 % in the coarsest, so two heights, and four evenly spaced places.
    svg = draw_coarsity([record(accuracies=np.repeat([0.2, 0.8], 300))])
    markers = [
        (float(use.attrib["x"]), float(use.attrib["y"]))
        for use in ElementTree.fromstring(svg).iter(f"{SVG}use")
        if "fill: #0b5394" in use.get("style", "") and "opacity" not in use.get("style", "")
    ][:4]
    x, y = np.array(markers).T
    assert np.diff(x) == pytest.approx([x[1] - x[0]] * 3, abs=1e-3) and x[0] < x[1]
    assert y[0] == y[1] > y[2] == y[3]  # SVG counts downwards


def test_groups_are_drawn_behind_few_runs_of_many_episodes_alone(record):
    assert faint_dots(draw_coarsity([record(), record("b")])) == 2 * 20
    assert faint_dots(draw_coarsity([record(episodes=599)])) == 0
    assert faint_dots(draw_coarsity([record(name) for name in "abcde"])) == 0


def test_one_episode_is_drawn(record):
    assert "protonet, conv4" in texts(draw_coarsity([record(episodes=1)]))


def test_bytes_depend_on_the_records_alone(record):
    records = [record("a"), record("b")]
    assert draw_coarsity(records) == draw_coarsity(records)
    assert draw_coarsity(records) != draw_coarsity(records[::-1])


def test_a_png_is_one(record):
    assert draw_coarsity([record()], "png").startswith(b"\x89PNG")
