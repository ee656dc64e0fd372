"""Tables of probes: how well each attribute was read off the feature, before and after training."""

from __future__ import annotations

from pathlib import Path

from ..probe.results import Probe, read_probe, training_of
from .markdown import table_lines
from .pivot import matching

FORM = "GLOB"


def decodability_part(query: str, results: Path) -> list[str]:
    """The lines of a table of the probes that a glob names.

    Args:
        query: the glob; `results/` at its beginning is the results folder.
        results: the results folder.

    Raises:
        UserError: no file matches, or one is no probe.
    """
    return decodability_table([read_probe(path) for path in matching(query.strip(), results)])


def decodability_table(probes: list[Probe]) -> list[str]:
    """The lines of a table with a row for each network and a column for each attribute, in percent.

    Args:
        probes: at least one, of attributes with the same numbers of values.
    """
    values: dict[str, int] = {}
    for one in probes:
        values |= one.values
    rows = [[training_of(one), *(_cell(one, name) for name in values)] for one in probes]
    chance = ["chance", *(f"{100 / count:.1f}" for count in values.values())]
    return table_lines(["trained on", *values], [*rows, chance], [False, *(True for _ in values)])


def _cell(probe: Probe, attribute: str) -> str:
    """Accuracy at the feature before and after training; "" for an attribute that the images did not have."""
    if attribute not in probe.values:
        return ""
    found = probe.at(probe.layers[-1], attribute)
    return f"{100 * found.before:.1f} → {100 * found.after:.1f}"
