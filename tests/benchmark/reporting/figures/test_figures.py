import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np

from fewbench.benchmark.reporting.figures.figures import draw
from fewbench.benchmark.reporting.tables import tables_of


def texts(svg):
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_each_task_has_a_panel_and_each_method_a_row(make_record):
    records = [
        make_record([0.5, 0.75], name="a", method={"transductive": True}),
        make_record([0.25, 0.5], name="b$x$"),
        make_record([0.5, 0.75], name="c", task={"shots": 5}),
    ]
    tables = tables_of(records)
    found = texts(draw(tables))
    assert [text for text in found if "conv4" in text] == ["a, conv4, transductive", "b$x$, conv4", "c, conv4"]
    assert [text for text in found if "way" in text] == [table.title for table in tables]


def test_panels_of_one_task_on_different_data_name_the_data(make_record):
    tables = tables_of([make_record([0.5]), make_record([0.5], task={"fingerprint": "0123456789abcdef" * 4})])
    found = " ".join(texts(draw(tables)))
    assert "fingerprint 0123456789ab" in found and "fingerprint 21b2eed1e328" in found


def test_bytes_depend_on_the_tables_alone(make_record):
    tables = tables_of([make_record(np.linspace(0, 1, 30)), make_record(np.linspace(0, 0.5, 30), name="b")])
    first = draw(tables)
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 20, "axes.grid": True}):
        assert draw(tables) == first
        assert matplotlib.rcParams["font.size"] == 20
    assert b"dc:date" not in first


def test_other_accuracies_are_another_figure(make_record):
    assert draw(tables_of([make_record([0.5, 0.75])])) != draw(tables_of([make_record([0.5, 1.0])]))


def test_the_best_method_is_on_top(make_record):
    records = [make_record([0.9, 0.8], name="best"), make_record([0.1, 0.2], name="worst")]
    root = ElementTree.fromstring(draw(tables_of(records)))
    height = {}
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        if "conv4" in (element.text or ""):
            height[element.text] = float(element.attrib["y"])
    assert height["best, conv4"] < height["worst, conv4"]  # SVG counts downwards


def test_a_single_episode_is_drawn_without_an_interval(make_record):
    assert "protonet, conv4" in texts(draw(tables_of([make_record([0.5])])))


def test_a_long_name_is_wrapped_and_never_cut(make_record):
    lines = [text for text in texts(draw(tables_of([make_record([0.5], name="x" * 200)]))) if text.startswith("x")]
    assert len(lines) > 2 and "".join(lines) == "x" * 200 + ", conv4"
