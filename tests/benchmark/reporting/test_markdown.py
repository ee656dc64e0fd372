from fewbench.benchmark.reporting.markdown import accuracy_cell, escaped, percent, table_lines


def test_percent_gives_two_decimals():
    assert percent(0.63171, 0.00229) == "63.17 ± 0.23"
    assert percent(0.5, None) == "50.00"


def test_another_level_is_said(make_record):
    # s = 0.02/sqrt(2), so that the half-width is t(q, 1) · 0.01: 12.7062 and 6.3138 times
    assert accuracy_cell(make_record([0.49, 0.51])) == "50.00 ± 12.71"
    assert accuracy_cell(make_record([0.49, 0.51], accuracy={"level": 0.9})) == "50.00 ± 6.31 (90 %)"


def test_text_is_one_line_without_markup():
    assert escaped("a|b\n  <c> *d*") == r"a\|b \<c\> \*d\*"


def test_a_table_has_dashes_for_empty_cells():
    lines = ["| a | b |", "| --- | ---: |", r"| x\|y | – |"]
    assert table_lines(["a", "b"], [["x|y", ""]], [False, True]) == lines
