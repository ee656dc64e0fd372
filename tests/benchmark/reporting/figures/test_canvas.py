from pathlib import Path

import pytest

from fewbench.benchmark.reporting.figures.canvas import figure_bytes, form_of
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
