"""A report as one HTML file, or as Markdown with its pictures in a folder beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup

from ....core.errors import UsageError
from ....core.files import write_atomically
from ...records.provenance import package_version
from ..markdown import escaped, table_lines
from ..site.figures import inline
from ..site.markup import TEMPLATES, environment
from .content import Picture, Report

FORMS = (".html", ".md")
FIGURE_FORMS = (".svg", ".png")  # where a report has one figure, which may be written alone


def check_form(file: Path, forms: tuple[str, ...] = FORMS) -> None:
    """Check the name of a report's file.

    Raises:
        UsageError: it ends in none of the forms.
    """
    if file.suffix not in forms:
        raise UsageError(f"--output {file}: end the name in {' or '.join(forms)}")


def write_report(report: Report, file: Path) -> None:
    """Write a report; of a Markdown file the pictures go into a folder of its name beside it.

    Raises:
        UserError: a file cannot be written.
    """
    if file.suffix == ".html":
        write_atomically(file, html(report).encode("utf-8"))
        return
    folder = file.with_name(f"{file.stem}-files")
    for name, picture in _named(report):
        write_atomically(folder / name, picture.content)
    write_atomically(file, markdown(report, folder.name).encode("utf-8"))


def html(report: Report) -> str:
    """The report as an HTML page that needs no other file."""
    shown = {id(picture): _shown(picture, f"p{place}-") for place, picture in enumerate(_pictures(report))}
    template = environment().get_template("report.html")
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return template.render(report=report, shown=lambda one: shown[id(one)], style=style, version=package_version())


def _shown(picture: Picture, prefix: str) -> Markup:
    if picture.form == "svg":
        return inline(picture.content, prefix, picture.caption)
    data = base64.b64encode(picture.content).decode("ascii")
    return Markup('<img alt="{}" src="data:image/{};base64,{}">').format(picture.caption, picture.form, data)


def markdown(report: Report, folder: str) -> str:
    """The report as Markdown.

    Args:
        report: the report.
        folder: the folder with its pictures, as links name it.
    """
    names = {id(picture): name for name, picture in _named(report)}
    lines = [f"# {escaped(report.title)}", "", escaped(report.lead), ""]
    for section in report.sections:
        lines += [f"## {escaped(section.title)}", ""]
        for text in section.texts:
            lines += [escaped(text), ""]
        for picture in section.pictures:
            lines += [f"![{escaped(picture.caption)}]({folder}/{names[id(picture)]})", ""]
        for table in section.tables:
            lines += [*table_lines([escaped(head) for head in table.heads], table.rows, table.numeric), ""]
        for picture in section.wide:
            lines += [f"![{escaped(picture.caption)}]({folder}/{names[id(picture)]})", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _pictures(report: Report) -> Iterator[Picture]:
    for section in report.sections:
        yield from (*section.pictures, *section.wide)


def _named(report: Report) -> Iterator[tuple[str, Picture]]:
    """The pictures with names of their files, each its own."""
    for place, picture in enumerate(_pictures(report), 1):
        yield f"{place}-{picture.name}.{'jpg' if picture.form == 'jpeg' else picture.form}", picture
