"""Pretraining recipes, one a file. Nothing is imported before it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ....core.errors import UsageError, did_you_mean
from ...described import described

if TYPE_CHECKING:
    from .base import Recipe

RECIPES = {
    "barlow-twins": "barlow_twins:BarlowTwins",
    "clip": "clip:Clip",
    "dino": "dino:Dino",
    "distill": "distill:Distill",
    "masked": "masked:Masked",
    "rotation": "rotation:Rotation",
    "self-distill": "self_distill:SelfDistill",
    "simclr": "simclr:SimClr",
    "simclr-v2": "simclr_v2:SimClrV2",
    "spl": "spl:Spl",
    "supervised": "supervised:Supervised",
    "triplet": "triplet:Triplet",
}


def check_recipe(name: str) -> None:
    """Check a recipe's name without importing any recipe.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe '{name}'; {did_you_mean(name, RECIPES)}")


def takes_shifts(name: str) -> bool:
    """Whether a recipe's images may be shifted, read from its source: that needs no torch."""
    return bool(getattr(described(f"{__name__}.{RECIPES[name]}"), "shifts", False))


def find_recipe(name: str) -> type[Recipe]:
    """The class of a recipe.

    Raises:
        UsageError: there is none of that name.
    """
    check_recipe(name)
    module, _, cls = RECIPES[name].partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), cls)
