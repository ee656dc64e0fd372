import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np

from fewbench.benchmark.reporting.figures.boards import MOST_ROWS, draw_board
from fewbench.benchmark.reporting.quotes import quotes_of

SVG = "{http://www.w3.org/2000/svg}text"


def drawn(boards, numbers=()):
    (quotes,) = quotes_of(boards, list(numbers))
    return draw_board(boards[0], quotes)


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(SVG)]


def test_rows_stand_below_their_groups_the_best_on_top_with_a_panel_for_each_task(make_record, boards):
    records = [
        make_record([0.5, 0.75], name="a", method={"transductive": True}),
        make_record([0.25, 0.5], name="b$x$"),
        make_record([0.9, 0.8], name="c", backbone={"name": "resnet12"}),
        make_record([0.5, 0.75], name="b$x$", task={"shots": 5}),
    ]
    svg = drawn(boards(records))
    labels = [element for element in ElementTree.fromstring(svg).iter(SVG) if "y" in element.attrib]
    place = {element.text: float(element.attrib["y"]) for element in labels}
    training = "trained on trifeature (supervised)"
    names = [f"resnet12, {training}", "c", f"conv4, {training}", "a†", "b$x$"]
    assert sorted(names, key=place.__getitem__) == names  # SVG counts downwards
    assert {"5-way 1-shot", "5-way 5-shot"} < set(texts(svg)) and "† transductive" in " ".join(texts(svg))


def test_only_the_best_rows_are_drawn_and_the_figure_says_so(make_record, boards):
    records = [make_record([0.01 * i, 0.5], name=f"method-{i}") for i in range(20)]
    found = texts(drawn(boards([*records, make_record([0.9, 0.9], name="chance", method={"uses_support": False})])))
    assert [text for text in found if text.startswith("method-")] == [f"method-{i}" for i in range(19, 19 - MOST_ROWS, -1)]
    assert f"{MOST_ROWS} of 21 rows, the best" in " ".join(found) and "chance" not in found


def test_rows_beside_published_numbers_are_drawn_although_others_are_better(trained, boards, published):
    better = [trained([0.98, 0.99], name=f"method-{i}", meta=False, weights="b") for i in range(20)]
    found = texts(drawn(boards([trained([0.5, 0.6]), *better]), [published()]))
    assert "protonet" in found and sum(text.startswith("method-") for text in found) == MOST_ROWS - 1


def test_published_numbers_are_drawn_beside_ours(trained, boards, published):
    made = boards([trained([0.97, 0.99])])
    assert "diamonds: published" in " ".join(texts(drawn(made, [published()])))
    assert "published" not in " ".join(texts(drawn(made)))
    assert drawn(made, [published()]) != drawn(made, [published(accuracy="95.0")])


def test_bytes_depend_on_the_board_alone(make_record, boards):
    made = boards([make_record(np.linspace(0, 1, 30)), make_record(np.linspace(0, 0.5, 30), name="b")])
    first = drawn(made)
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 20, "axes.grid": True}):
        assert drawn(made) == first
        assert matplotlib.rcParams["font.size"] == 20
    assert b"dc:date" not in first


def test_other_accuracies_are_another_figure(make_record, boards):
    assert drawn(boards([make_record([0.5, 0.75])])) != drawn(boards([make_record([0.5, 1.0])]))


def test_a_single_episode_is_drawn_without_an_interval(make_record, boards):
    assert "protonet" in texts(drawn(boards([make_record([0.5])])))


def test_a_long_name_is_wrapped_and_never_cut(make_record, boards):
    lines = [text for text in texts(drawn(boards([make_record([0.5], name="x" * 200)]))) if text.startswith("x")]
    assert len(lines) > 2 and "".join(lines) == "x" * 200
