"""`bench predict`: the classes of new photos."""

from __future__ import annotations

import csv
import io
import json as json_lines
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ....core.errors import UserError, printable
from ..parts.lines import say

if TYPE_CHECKING:
    from ...classifier.classifier import Answers, Classifier

SHOWN = 3  # classes a photo
COLUMNS = ("file", "label", "probability", "second", "second_probability", "third", "third_probability", "distance", "unlike")


def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a classifier, made by bench fit.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Photos, and folders of photos.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a photo.")] = False,
    output: Annotated[Path | None, typer.Option(help="File to write instead of printing; CSV, or JSON with --json.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Say which class each photo shows, how probable that is, and which two classes come next.

    `unlike` marks a photo that is farther from all photos of the classifier than known photos are from each other.

    Example: bench predict groceries new-photos --csv
    """
    from ....core.files import write_atomically
    from ...classifier.files import load
    from ...classifier.photos import photos_in, read
    from ..parts.terminal import TerminalProgress

    loaded, members = load(model, device), photos_in(images)
    rows: list[dict[str, object]] = []
    unreadable: list[str] = []
    with TerminalProgress().track("photos", len(members), "photos") as advance:
        for batch in read(members, loaded.square):
            if batch.names:
                rows += _rows(loaded, batch.names, loaded.answers(batch.images))
            unreadable += batch.unreadable
            advance(len(batch.names) + len(batch.unreadable))
    text = _as_json(rows) if json else _as_csv(rows) if csv or output else _as_text(rows)
    if output is None:
        for line in text.splitlines():
            say(line)
    else:
        write_atomically(output, text.encode())
        say(output)
    for line in unreadable:
        say(f"not read: {line}", err=True)
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(members)} photos could not be read; the others have their answers")


def _rows(model: Classifier, names: list[str], answers: Answers) -> list[dict[str, object]]:
    """The columns of each photo. A classifier of two classes has no third."""
    found = []
    for name, chances, distance, unlike in zip(names, answers.probabilities, answers.distances, answers.unlike, strict=True):
        order = [int(one) for one in (-chances).argsort(kind="stable")[:SHOWN]]
        best = [value for one in order for value in (model.classes[one], round(float(chances[one]), 4))]
        best += [""] * (2 * SHOWN - len(best))
        found.append(dict(zip(COLUMNS, (printable(name), *best, round(float(distance), 4), bool(unlike)), strict=True)))
    return found


def _as_csv(rows: list[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*list(row.values())[:-1], "yes" if row["unlike"] else "no"] for row in rows)
    return out.getvalue()


def _as_json(rows: list[dict[str, object]]) -> str:
    return "".join(json_lines.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _as_text(rows: list[dict[str, object]]) -> str:
    lines = []
    for row in rows:
        unlike = ", unlike all classes" if row["unlike"] else ""
        lines.append(f"{row['file']}: {row['label']} ({row['probability']:.0%}){unlike}\n")
    return "".join(lines)
