"""The generated parts of pages that `bench table` fills."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..config import RESULTS
from . import pivot, published_page
from .pages import Part
from .stage_effects import effects_of


def parts(results: Path = RESULTS) -> dict[str, Part]:
    """The parts by the name in their markers, made from a results folder."""
    return {
        "table": Part(partial(pivot.pivot_of, results=results), pivot.FORM),
        "effects": Part(partial(effects_of, results=results), pivot.FORM_OF_RECORDS),
        "published": Part(partial(published_page.published_part, results=results), published_page.FORM),
    }
