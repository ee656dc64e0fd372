"""The part of WordNet above ImageNet's classes, which comes with the package (lists/WORDNET_LICENSE)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UserError
from .taxonomy import Taxonomy

ENTITY = "n00001740"  # the root of WordNet's nouns
EDGES = Path(__file__).parent / "datasets" / "lists" / "wordnet_edges.csv"


def edges() -> list[tuple[str, str]]:
    """Every is-a edge (parent, child) of WordNet 3.0 above the 1,000 classes of ILSVRC-2012.

    All ancestors are included, so that shortest paths from the root are those of the whole WordNet.
    """
    with EDGES.open(encoding="utf-8", newline="") as file:
        return [(row["parent"], row["child"]) for row in csv.DictReader(file)]


def wordnet_taxonomy(classes: Sequence[str]) -> Taxonomy:
    """The class graph of WordNet ids (`n01440764`, …) below "entity".

    Raises:
        UserError: an id is neither one of ImageNet's 1,000 classes nor above one.
    """
    is_a = edges()
    known = {node for edge in is_a for node in edge}
    for node in classes:
        if node not in known:
            raise UserError(
                f"'{node}' is no WordNet id above or among ImageNet's 1,000 classes; "
                "bring a taxonomy (a parent table) or a distance matrix of your own"
            )
    return Taxonomy.from_edges(is_a, ENTITY, classes)
