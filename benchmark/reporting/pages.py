"""Generated parts of markdown pages: what stands between two markers is made from records.

    <!-- leaderboard:begin -->                  or, of a part that there may be several of:      <!-- table: QUERY -->
    <!-- leaderboard:end -->                                                                     <!-- /table -->

All else on the page is kept to the byte. Markers with a query stand on lines of their own.
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
        lines: makes its lines of markdown from the query of its first marker.
        query: the form of that query; "" where there is none, and one such part on a page.
    """

    lines: Callable[[str], Sequence[str]]
    query: str = ""


def update_page(file: Path, parts: Mapping[str, Part], check: bool = False, new_page: str | None = None) -> bool:
    """Make every part of a page anew.

    Args:
        file: the page.
        parts: by the name in their markers.
        check: write nothing, only compare.
        new_page: the text of a page that is absent; None: that is an error.

    Returns:
        Whether the page was not what the records say; without `check` it is now.

    Raises:
        UserError: the page is absent, not UTF-8, or cannot be written; a marker lacks; or a part cannot be made.
    """
    old = _read(file)
    text = new_page if old is None else old
    if text is None:
        raise UserError(f"{file}: no such file")
    new = "".join(_filled(file, text, parts))
    return old != new if check else write_if_changed(file, new.encode("utf-8"))


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file that does not hold this already; whether it did not."""
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
    """The page, piece by piece."""
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
    """Every part with its markers.

    Raises:
        UserError: there is none, one too many, or a marker without its partner.
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
