"""The pages of the site, made from boards and reproductions: content by path, the same bytes for the same records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ....core.errors import UserError
from ...built_in import BUILT_IN
from ...config import results_option
from ...pipeline.reproduction import Comparison
from ...records.identity import file_safe
from ...records.provenance import package_version
from ...records.task_words import task_label
from .. import reproduction
from ..leaderboard import HOW_TO_READ, Boards
from ..markdown import Table
from ..record_rows import rows_of
from ..setting import MARKS
from ..summary import HEADERS, KEY, KEY_OF_SETTINGS, NUMERIC, Links, summary_rows
from .entries import Entry, addresses, entries_of
from .figures import figures_of
from .markup import HTML, TEMPLATES, environment
from .methods import text_of

FILES = ("style.css", "script.js")
FILTERS = {
    "method": lambda one: one.method,
    "backbone": lambda one: one.record.backbone.name,
    "pretraining": lambda one: one.row.training,
    "setting": lambda one: one.row.setting.name,
    "shots": lambda one: one.shots,
}


def files_of(found: Boards, comparisons: Sequence[Comparison], results: Path) -> dict[str, bytes]:
    """All files of the site by their path in it.

    Args:
        found: the boards.
        comparisons: the runs of all reproductions.
        results: the results folder, for the commands that the pages name.

    Raises:
        UserError: there is no complete record.
    """
    if not found.boards:
        raise UserError(f"{results} has no complete record; bench run{results_option(results)} makes one")
    site = Site(found, comparisons, results)
    return {name: text.encode("utf-8") for name, text in site.pages()} | {
        name: (TEMPLATES / name).read_bytes() for name in FILES
    }


class Site:
    """The pages of the site, and what they have in common."""

    def __init__(self, found: Boards, comparisons: Sequence[Comparison], results: Path) -> None:
        """Give every run, method and dataset a page."""
        self.boards = found.boards
        self.comparisons = comparisons
        self.results = results
        self.entries = entries_of(found.boards)
        self.of_method: dict[str, list[Entry]] = {name: [] for name in BUILT_IN["methods"]}
        self.of_dataset: dict[str, list[Entry]] = defaultdict(list)
        self.of_board: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            self.of_method.setdefault(entry.method, []).append(entry)
            self.of_dataset[entry.board.dataset].append(entry)
            self.of_board[entry.board.title].append(entry)
        built_in_first = sorted(self.of_method, key=lambda name: (name not in BUILT_IN["methods"], name))
        self.method_pages = addresses("methods", {name: file_safe(name) for name in built_in_first})
        self.dataset_pages = addresses("datasets", {name: file_safe(name) for name in self.of_dataset})
        self.board_pages: dict[str, str] = {}
        for name, page in self.dataset_pages.items():
            titles = [board.title for board, _ in found.boards if board.dataset == name]
            self.board_pages |= {title: f"{page}#board-{place}" for place, title in enumerate(titles, 1)}
        self.records = {entry.cell.path: entry.page for entry in self.entries}

    def pages(self) -> Iterable[tuple[str, str]]:
        """Path and text of each page."""
        yield "index.html", self.page("index.html", "", table=self._summary(), notes=(KEY_OF_SETTINGS, *KEY, *HOW_TO_READ[:3]))
        yield "methods.html", self.page("methods.html", "", texts=self._texts())
        about = {one.pipeline.name: one.pipeline.published for one in self.comparisons}
        yield "reproductions.html", self.page("reproductions.html", "", table=self._reproductions(), about=about)
        for name, page in self.dataset_pages.items():
            boards = [(board, quotes) for board, quotes in self.boards if board.dataset == name]
            figures = [figures_of(board, quotes, f"b{place}-") for place, (board, quotes) in enumerate(boards)]
            yield page, self.page("dataset.html", "../", name=name, boards=boards, figures=figures)
        for name, page in self.method_pages.items():
            entries = self.of_method[name]
            yield page, self.page("method.html", "../", text=text_of(name, entries), entries=entries)
        for entry in self.entries:
            yield entry.page, self.page("record.html", "../", entry=entry, rows=rows_of(entry.record))

    def page(self, template: str, root: str, **values: Any) -> str:
        """Render a page.

        Args:
            template: name of its template.
            root: the way from the page to the folder of the site.
            values: of the template.
        """
        common = {"site": self, "root": root, "version": package_version(), "filters": FILTERS, "marks": MARKS}
        return environment().get_template(template).render(**common, **values)

    def task_of(self, entry: Entry) -> str:
        """The task of a run in words."""
        return task_label(entry.record)

    def options(self, entries: Iterable[Entry], name: str) -> list[str]:
        """What a filter may be set to."""
        found = {FILTERS[name](entry) for entry in entries}
        return sorted(found, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))

    def _summary(self) -> Table:
        links = Links(HTML, lambda board: self.board_pages[board.title], lambda path: self.records[path])
        return Table(HEADERS, [[Markup(cell) for cell in row] for row in summary_rows(self.boards, links)], NUMERIC)

    def _texts(self) -> list[Any]:
        return [text_of(name, self.of_method[name]) for name in self.method_pages]

    def _reproductions(self) -> Table:
        rows = [list(map(escape, reproduction.row(one))) for one in self.comparisons]
        place = reproduction.HEADERS.index("ours (%)")
        for row, one in zip(rows, self.comparisons, strict=True):
            row[place] = Markup(HTML.link(row[place], self.records.get(one.path, "") if one.path else ""))
        return Table(reproduction.HEADERS, rows, reproduction.NUMERIC)
