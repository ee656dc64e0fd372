from pathlib import Path

import pytest

from fewbench.benchmark.reporting.pages import Part, update_page, write_if_changed
from fewbench.core.errors import UserError

PARTS = {"word": Part(lambda query: [query.upper()], "WORD"), "other": Part(lambda query: ["other"], "ANY")}
WHOLE = {"whole": Part(lambda query: ["a", "b"])}


def test_parts_are_filled_and_all_else_is_kept_with_its_line_ends(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_bytes("é\r\n<!-- word: one -->\r\nold\n<!-- /word -->\r\nx\n<!-- other: y -->\n<!-- /other -->".encode())
    assert update_page(page, PARTS, check=True) and b"old" in page.read_bytes()
    assert update_page(page, PARTS) and not update_page(page, PARTS)
    text = "é\r\n<!-- word: one -->\r\n\nONE\n\n<!-- /word -->\r\nx\n<!-- other: y -->\n\nother\n\n<!-- /other -->"
    assert page.read_bytes() == text.replace("-->\r\n\nONE", "-->\r\n\nONE").encode()


def test_a_page_that_is_absent_is_made_where_there_is_a_text_for_it(tmp_path: Path):
    page = tmp_path / "page.md"
    with pytest.raises(UserError, match="no such file"):
        update_page(page, WHOLE)
    new = "# New\n<!-- whole:begin -->\n<!-- whole:end -->\n"
    assert update_page(page, WHOLE, check=True, new_page=new) and not page.exists()
    assert update_page(page, WHOLE, new_page=new)
    assert page.read_text(encoding="utf-8") == "# New\n<!-- whole:begin -->\n\na\nb\n\n<!-- whole:end -->\n"


@pytest.mark.parametrize(
    ("text", "parts", "says"),
    [
        ("nothing", WHOLE, "needs one line '<!-- whole:begin -->' with a line '<!-- whole:end -->' below it"),
        ("<!-- whole:begin -->\n<!-- whole:end -->\n" * 2, WHOLE, "needs one line"),
        ("<!-- whole:end -->\n<!-- whole:begin -->\n", WHOLE, "needs one line"),
        ("text <!-- word: a -->\n<!-- /word -->\n", PARTS, "needs lines"),
        ("<!-- word: a -->\n<!-- /other -->\n", PARTS, "needs lines '<!-- word: WORD -->', each with a line '<!-- /word -->'"),
        ("<!-- word: a -->\n<!-- /word -->\n<!-- word: b -->\n", PARTS, "needs lines"),
    ],
)
def test_a_marker_without_its_partner_is_told(tmp_path: Path, text: str, parts: dict[str, Part], says: str):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"page.md {says}"):
        update_page(page, parts)


def test_a_part_that_cannot_be_made_is_named(tmp_path: Path):
    def fail(query: str) -> list[str]:
        raise UserError("no records")

    page = tmp_path / "page.md"
    page.write_text("<!-- word: a -->\n<!-- /word -->\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"page\.md, word 1: no records"):
        update_page(page, {"word": Part(fail, "WORD")})
    page.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"page\.md is not UTF-8 text"):
        update_page(page, PARTS)


def test_a_file_is_written_only_where_it_changes(tmp_path: Path):
    path = tmp_path / "page.md"
    assert write_if_changed(path, b"a") is True
    before = path.stat().st_mtime_ns
    assert write_if_changed(path, b"a") is False and path.stat().st_mtime_ns == before
    assert write_if_changed(path, b"b") is True and path.read_bytes() == b"b"
