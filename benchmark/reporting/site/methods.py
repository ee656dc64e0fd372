"""What the page of a method says: what it is, its citation and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from ....core.options import parameters_of
from ...built_in import BUILT_IN
from ...described import described, module_text
from ..markdown import Table
from ..setting import INDUCTIVE, TRANSDUCTIVE
from .entries import Entry
from .markup import paragraphs, prose

HEADERS = ("parameter", "type", "range", "default", "meaning")


@dataclass(frozen=True)
class MethodText:
    """A method in words.

    Attributes:
        name: as users write it.
        summary: one line.
        citation: of its paper; "" where unknown.
        text: how it works, in paragraphs.
        facts: what else it declares, as names with values.
        parameters: name, type, range, default and meaning of each.
    """

    name: str
    summary: Markup
    citation: Markup
    text: list[Markup]
    facts: list[tuple[str, str]]
    parameters: Table


def text_of(name: str, entries: Iterable[Entry]) -> MethodText:
    """A method in words: a built-in one as its file explains it, one from elsewhere as its records do.

    Args:
        name: of the method.
        entries: its runs.
    """
    family = f"{name.partition(':')[0]}:NAME"
    target = BUILT_IN["methods"].get(name, BUILT_IN["methods"].get(family, ""))
    if not target:
        return _from_elsewhere(name, entries)
    cls = described(target)
    _, *text = paragraphs(module_text(target))
    citation = text.pop(0) if getattr(cls, "citation", "") else Markup()
    rows = [[one.name, one.type_name, str(one.range or ""), str(one.default), one.help] for one in parameters_of(cls)]
    setting = TRANSDUCTIVE if getattr(cls, "transductive", False) else INDUCTIVE
    facts = [
        ("setting", setting),
        ("works on", str(getattr(cls, "inputs", ""))),
        ("version", str(getattr(cls, "version", ""))),
    ]
    facts += [("parameters", opened)] if (opened := getattr(cls, "open_parameters", "")) else []
    return MethodText(name, prose((cls.__doc__ or "").split("\n")[0]), citation, text, facts, _parameters(rows))


def _parameters(rows: list[list[str]]) -> Table:
    return Table(HEADERS, rows, (False,) * len(HEADERS))


def _from_elsewhere(name: str, entries: Iterable[Entry]) -> MethodText:
    records = [entry.record for entry in entries]
    made_by = sorted({record.method.distribution for record in records if record.method.distribution})
    used = sorted({f"{key}={value}" for record in records for key, value in record.method.parameters.items()})
    facts = [("from", ", ".join(made_by) or "a file of its author"), ("parameters in its runs", ", ".join(used) or "none")]
    return MethodText(name, prose("A method that does not come with fewbench."), Markup(), [], facts, _parameters([]))
