"""Blocks of a markdown page that are generated from records.

    <!-- table: records=results/records/omniglot/**/*.json rows=method.name columns=task.ways,task.shots where=task.seed:0 -->
    <!-- /table -->

each marker on a line of its own. What stands between the two is generated: of `table` a pivot table, of `effects`, which says
`records` and `where` alone, what each stage of P>M>F changes. The query is that of pivot.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...core.errors import UserError
from ..records.identity import without_repeats
from .markdown import read_page, write_if_changed
from .pivot import FORM, Query, pivot
from .stage_effects import effects_table

BLOCK = re.compile(
    r"^(<!-- (?P<kind>table|effects): (?P<query>[^\n]*?) -->[ \t]*\r?$)(?P<body>.*?)^<!-- /(?P=kind) -->",
    re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"^<!-- (?:(?:table|effects):|/(?:table|effects) -->)", re.MULTILINE)


def update_page(file: Path, check: bool = False) -> bool:
    """Fill every block of a page.

    Args:
        file: the page; what stands outside the blocks is kept to the byte.
        check: write nothing, only compare.

    Returns:
        Whether a table was not what the records say; without `check` it is now.

    Raises:
        UserError: the page is absent, has no block or a marker without its partner, or a block cannot be filled.
    """
    old = read_page(file)
    if old is None:
        raise UserError(f"{file}: no such file")
    blocks = list(BLOCK.finditer(old))
    if not blocks or len(MARKER.findall(old)) != 2 * len(blocks):
        form = f"<!-- table: {FORM} -->"
        raise UserError(f"{file} needs lines '{form}', each with a line '<!-- /table -->' below it, to put tables there")
    new = "".join(_filled(file, old, blocks))
    return old != new if check else write_if_changed(file, new.encode("utf-8"))


def _filled(file: Path, text: str, blocks: Sequence[re.Match[str]]) -> Iterator[str]:
    """The page, piece by piece."""
    end = 0
    for number, block in enumerate(blocks, 1):
        try:
            lines = KINDS[block["kind"]](block["query"])
        except UserError as error:
            raise UserError(f"{file}, table {number}: {error}") from error
        yield text[end : block.start("body")]
        yield "\n".join(["", "", *lines, "", ""])
        end = block.end("body")
    yield text[end:]


def _table(text: str) -> list[str]:
    query = Query.parse(text)
    return pivot(query, query.find())


def _effects(text: str) -> list[str]:
    return effects_table(without_repeats(record for _, record in Query.parse(text, laid_out=False).find()))


KINDS: dict[str, Callable[[str], list[str]]] = {"table": _table, "effects": _effects}
