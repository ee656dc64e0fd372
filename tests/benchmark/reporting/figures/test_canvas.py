from pathlib import Path

import pytest

from fewbench.benchmark.built_in import BUILT_IN
from fewbench.benchmark.reporting.figures.canvas import COLOURS, colours_of, figure_bytes, form_of, looks
from fewbench.core.errors import UsageError


@pytest.mark.parametrize(("name", "form"), [("a.svg", "svg"), ("a.b.PNG", "png")])
def test_the_form_is_that_of_the_name(name, form):
    assert form_of(Path(name)) == form


@pytest.mark.parametrize("name", ["a.pdf", "svg", ".svg"])
def test_other_names_are_refused_with_the_forms_there_are(name):
    with pytest.raises(UsageError) as caught:
        form_of(Path(name))
    assert str(caught.value) == f"--output {name}: end the name in .svg or .png"
    with pytest.raises(UsageError, match=r"end the name in \.png$"):
        form_of(Path("a.svg"), ("png",))


@pytest.mark.parametrize(("form", "start", "mark"), [("svg", b"<?xml", b"Matplotlib v"), ("png", b"\x89PNG", b"matplotlib")])
def test_the_same_drawing_is_the_same_bytes_without_date_or_version(form, start, mark):
    def paint(figure):
        figure.subplots().plot([1, 2])

    content = figure_bytes((2, 1), paint, form)
    assert content == figure_bytes((2, 1), paint, form)
    assert content.startswith(start)
    assert mark not in content


def test_a_method_has_one_colour_and_its_runs_have_other_markers():
    methods = ["protonet", "ridge", "protonet", "mine.py:Own"]
    found = looks(methods)
    assert found[0][1] == found[2][1] == colours_of(["protonet", "maml"])["protonet"] and found[0][0] != found[2][0]
    assert len({colour for _, colour in found}) == 3
    assert looks(methods[::-1])[::-1][1] == found[1]


def test_no_two_methods_of_a_figure_share_a_colour_as_long_as_there_are_enough():
    assert len(set(colours_of(BUILT_IN["methods"]).values())) == len(BUILT_IN["methods"]) <= len(COLOURS)
    plugins = [f"plugin-{i}.py:Method" for i in range(len(COLOURS))]
    assert len(set(colours_of(plugins).values())) == len(COLOURS)
    assert len(colours_of([*plugins, "one-more"])) == len(COLOURS) + 1


def test_runs_of_one_method_differ_in_colours_too():
    assert len(set(looks(["protonet"] * 5))) == len({colour for _, colour in looks(["protonet"] * 5)}) == 5
