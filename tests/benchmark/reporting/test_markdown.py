from fewbench.benchmark.reporting.markdown import accuracy_cell, escaped, table_lines


def test_another_level_is_said(make_record):
    # s = 0.01 · √(20/19), so that the half-width is t(q, 19) · 0.01 / √19, with t = 2.0930 and 1.7291
    assert accuracy_cell(make_record([0.49, 0.51] * 10)) == "50.00 ± 0.48"
    assert accuracy_cell(make_record([0.49, 0.51] * 10, accuracy={"level": 0.9})) == "50.00 ± 0.40 (90 %)"


def test_text_is_one_line_without_markup():
    assert escaped("a|b\n  <c> *d*") == r"a\|b \<c\> \*d\*"


def test_a_table_has_dashes_for_empty_cells():
    lines = ["| a | b |", "| --- | ---: |", r"| x\|y | – |"]
    assert table_lines(["a", "b"], [["x|y", ""]], [False, True]) == lines
