import pytest

from fewbench.benchmark.reporting.markdown import accuracy_cell, escaped, percent, read_page, table_lines, write_if_changed
from fewbench.core.errors import UserError


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


def test_a_page_keeps_its_line_ends(tmp_path):
    (tmp_path / "page.md").write_bytes("a\r\n→\n".encode())
    assert read_page(tmp_path / "page.md") == "a\r\n→\n"
    assert read_page(tmp_path / "absent.md") is None
    (tmp_path / "page.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"page\.md is not UTF-8 text"):
        read_page(tmp_path / "page.md")


def test_a_file_is_written_only_where_it_changes(tmp_path):
    path = tmp_path / "page.md"
    assert write_if_changed(path, b"a") is True
    before = path.stat().st_mtime_ns
    assert write_if_changed(path, b"a") is False and path.stat().st_mtime_ns == before
    assert write_if_changed(path, b"b") is True and path.read_bytes() == b"b"
