"""Three characters of Omniglot in each of the forms in which a user may have it."""

import functools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbench.core.errors import UserError
from fewbench.tasks.datasets import omniglot
from fewbench.tasks.datasets.omniglot import Omniglot
from fewbench.tasks.datasets.omniglot_sources import Character

# In neither the order of the rows nor that of the parts.
FEW = [
    Character("Ge_ez", "character10", "evaluation", 0),
    Character("Japanese_(katakana)", "character02", "background", 1),
    Character("Greek", "character01", "background", 0),
]


@pytest.fixture
def few(monkeypatch):
    """Reduce every split to FEW, and val to the characters of the background part."""
    monkeypatch.setattr(omniglot, "characters", lambda split: FEW if split != "val" else FEW[1:])


@functools.cache
def ink_of(character: Character) -> np.ndarray:
    random = np.random.default_rng([character.row, len(character.part)])
    return random.random((20, 105, 105)) < random.random((20, 1, 1)) * 0.3  # [20, 105, 105], no two drawings alike


def write_npz(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part in ("background", "evaluation"):
        members = sorted((character for character in FEW if character.part == part), key=lambda character: character.row)
        images = np.stack([~ink_of(character) for character in members])
        np.savez_compressed(folder / f"images_{part}.npz", images=images, labels=np.zeros((len(images), 20), np.int64))


def write_tree(folder: Path) -> None:
    for number, character in enumerate(FEW):
        below = folder / f"images_{character.part}" / character.identifier
        below.mkdir(parents=True)
        for drawer, ink in enumerate(ink_of(character), start=1):
            Image.fromarray(~ink).save(below / f"{number + 7:04}_{drawer:02}.png")


def write_zips(folder: Path) -> None:
    write_tree(folder / "unpacked")
    for part in ("background", "evaluation"):
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w") as archive:
            # Last drawer first: the order of the members does not count.
            for file in sorted((folder / "unpacked" / f"images_{part}").glob("*/*/*.png"), reverse=True):
                archive.write(file, file.relative_to(folder / "unpacked").as_posix())
    (folder / "unpacked").rename(folder.parent / "put-away")


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fingerprint_of(source: Path) -> str:
    return Omniglot().prepare(source, ["test"], again=True)["test"].fingerprint
