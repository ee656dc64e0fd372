"""Generated parts of markdown pages: the text between two markers is made from records.

    <!-- leaderboard:begin -->                  or, for a part that may occur several times:     <!-- table: QUERY -->
    <!-- leaderboard:end -->                                                                     <!-- /table -->

The rest of the page keeps its bytes. Markers with a query stand on lines of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file, write_atomically


@dataclass(frozen=True)
class Part:
    """A kind of generated part.

    Attributes:
        lines: makes the lines of markdown from the query of the first marker.
        query: form of the query; "" for a part without a query, which a page has once.
    """

    lines: Callable[[str], Sequence[str]]
    query: str = ""


def update_page(file: Path, parts: Mapping[str, Part], check: bool = False, new_page: str | None = None) -> bool:
    """Regenerate every part of a page.

    Args:
        file: the page.
        parts: kinds of parts by the name in their markers.
        check: write nothing, only compare.
        new_page: text of a page that is absent; None makes an absent page an error.

    Returns:
        Whether the page was out of date; without `check` it was rewritten.

    Raises:
        UserError: the page is absent, not UTF-8 or cannot be written, a marker is missing, or a part cannot be made.
    """
    old = _read(file)
    text = new_page if old is None else old
    if text is None:
        raise UserError(f"{file}: no such file")
    new = "".join(_filled(file, text, parts))
    return old != new if check else write_if_changed(file, new.encode("utf-8"))


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file unless it has this content already; return whether it was written."""
    with os_errors_named("cannot read"):
        changed = not path.exists() or regular_file(path).read_bytes() != content
    if changed:
        write_atomically(path, content)
    return changed


def _read(file: Path) -> str | None:
    """The page with its own line ends, or None where it is absent."""
    try:
        with os_errors_named("cannot read"):
            return regular_file(file).read_bytes().decode("utf-8") if file.exists() else None
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text; move it away and run again") from error


def _filled(file: Path, text: str, parts: Mapping[str, Part]) -> Iterator[str]:
    end = 0
    for number, found in enumerate(_find(file, text, parts), 1):
        try:
            lines = parts[found["name"]].lines(found["query"] or "")
        except UserError as error:
            raise UserError(f"{file}, {found['name']} {number}: {error}") from error
        yield text[end : found.start("body")]
        yield "\n".join(["", "", *lines, "", ""])
        end = found.end("body")
    yield text[end:]


def _find(file: Path, text: str, parts: Mapping[str, Part]) -> list[re.Match[str]]:
    """Find every part with its markers.

    Raises:
        UserError: there is no part, one too many, or a marker without its partner.
    """
    names, (name, first) = "|".join(map(re.escape, parts)), next(iter(parts.items()))
    start, rest_of_line = ("^", r"[ \t]*\r?$") if first.query else ("", "")
    opening = rf"{start}<!-- (?P<name>{names}):(?:begin| (?P<query>[^\n]*?)) -->{rest_of_line}"
    closing = rf"{start}<!-- (?:(?P=name):end|/(?P=name)) -->"
    found = list(re.finditer(f"{opening}(?P<body>.*?){closing}", text, re.MULTILINE | re.DOTALL))
    marker = rf"^<!-- (?:(?:{names}):|/(?:{names}) -->)" if first.query else rf"<!-- (?:{names}):(?:begin|end) -->"
    markers = re.findall(marker, text, re.MULTILINE)
    if not found or len(markers) != 2 * len(found) or (not first.query and len(found) > 1):
        needs = f"one line '<!-- {name}:begin -->' with a line '<!-- {name}:end -->' below it"
        if first.query:
            needs = f"lines '<!-- {name}: {first.query} -->', each with a line '<!-- /{name} -->' below it"
        raise UserError(f"{file} needs {needs}; what is generated goes between the two")
    return found
