"""The captions of training images: class names in prompts, or captions from a file.

Letters in shape comments: n images of a split, P phrases, B images of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from ...core.errors import UsageError, listed
from ...core.files import sha256_of
from ...core.progress import Progress
from ...core.tables import csv_rows
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.datasets.store import sources_of
from .names import readable_names
from .prompt_files import PLACE
from .prompts import ENSEMBLE, SINGLE, find_prompts

CLASS, IMAGE, CAPTION = "class_id", "source", "caption"  # columns of a file
MOST_WORDS = 8  # of a name of which some are left out: there are 2⁸ ways
ABSENT = -1


@dataclass(frozen=True)
class Captions:
    """Captions of every image of a split. A phrase is what is said, a template how it is put.

    Attributes:
        phrases: P texts, each once.
        templates: texts with a place for a phrase.
        of_image: int64 [n], which row of `choices` an image has.
        choices: int64 [groups, most], numbers of phrases, −1 behind the last.
        whole: the share of the images that get the first of their phrases; the others get any but the first. None: any.
        file_sha256: of the file that they were read from; None: of class names.
    """

    phrases: tuple[str, ...]
    templates: tuple[str, ...]
    of_image: Tensor
    choices: Tensor
    whole: float | None
    file_sha256: str | None = None

    def draw(self, rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """A caption for each image.

        Args:
            rows: int64 [B], of the split.
            generator: on any device.

        Returns:
            Numbers of phrases and of templates, int64 [B] each, on the CPU.
        """
        first, which, template = torch.rand(3, len(rows), generator=generator, device=generator.device).cpu()
        choices = self.choices[self.of_image[rows]]  # [B, most]
        count = (choices != ABSENT).sum(dim=1)
        place = (which * count).long().clamp(max=count - 1)
        if self.whole is not None:
            others = (1 + which * (count - 1)).long().clamp(max=count - 1)
            place = torch.where((first < self.whole) | (count == 1), 0, others)
        phrases = choices.gather(1, place[:, None])[:, 0]
        return phrases, (template * len(self.templates)).long().clamp(max=len(self.templates) - 1)

    def text(self, phrase: int, template: int) -> str:
        """The caption of a phrase in a template."""
        return self.templates[template].replace(PLACE, self.phrases[phrase])


def captions_of_names(split: Split, names: Sequence[str], drop: float, dataset: str) -> Captions:
    """Class names in prompts.

    Args:
        split: whose images are described.
        names: of its classes.
        drop: the share of the images of which only some words of the name are said, in their order.
        dataset: decides which prompts are used: `single` and `ensemble` of `bench run --prompts`.
    """
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(phrase, len(numbers)) for phrase in _phrases(name, drop)] for name in names]
    templates = dict.fromkeys(text for kind in (SINGLE, ENSEMBLE) for text in find_prompts(kind, dataset).templates)
    return Captions(tuple(numbers), tuple(templates), torch.from_numpy(split.labels), _padded(rows), 1 - drop)


def captions_of_file(path: Path, dataset: Dataset, split: Split, progress: Progress) -> Captions:
    """Captions from a CSV file with the columns class_id (or source) and caption, several lines for one if need be.

    Args:
        path: the file; lines about other images are left out.
        dataset: knows the names of images (`source`).
        split: whose images are described.
        progress: told of lines that are about other images.

    Raises:
        UsageError: the file has no such columns, or says nothing of some images.
        UserError: it cannot be read.
    """
    header, *lines = csv_rows(path) or [[]]
    header = [column.strip() for column in header]
    keys = [column for column in (CLASS, IMAGE) if column in header]
    owner = f"recipe.captions={path}"
    if len(keys) != 1 or CAPTION not in header:
        raise UsageError(f"{owner}: its first line does not name the columns {CLASS},{CAPTION} or {IMAGE},{CAPTION}")
    known = split.class_ids if keys[0] == CLASS else sources_of(dataset.folder() / split.name)
    place = {name: row for row, name in enumerate(known)}
    numbers: dict[str, int] = {}
    rows: list[list[int]] = [[] for _ in known]
    others = 0
    for line in lines:
        if len(line) != len(header):
            raise UsageError(f"{owner}: {','.join(line)[:60]} is not {len(header)} columns as its first line is")
        name, caption = line[header.index(keys[0])].strip(), " ".join(line[header.index(CAPTION)].split())
        if name in place and caption:
            rows[place[name]].append(numbers.setdefault(caption, len(numbers)))
        others += name not in place
    silent = [name for name, row in zip(known, rows, strict=True) if not row]
    if silent or not known:
        what = f"for {len(silent)} of {len(known)}: {listed(silent)}" if known else "can be found: the images have no names"
        raise UsageError(f"{owner}: no caption {what}")
    if others:
        progress.say(f"{owner}: {others} of {len(lines)} lines are not about the {split.name} split")
    of_image = split.labels if keys[0] == CLASS else np.arange(len(split.images))
    return Captions(tuple(numbers), (PLACE,), torch.from_numpy(of_image), _padded(rows), None, sha256_of(path))


def class_names(split: Split, progress: Progress) -> tuple[str, ...]:
    """The readable names of a split's classes.

    Raises:
        UsageError: they have none.
    """
    return readable_names(split.class_ids, split.class_names, None, progress)


def _phrases(name: str, drop: float) -> list[str]:
    """The whole name, and where words may be left out also what is then left of it."""
    words = name.split()
    if drop == 0 or not 1 < len(words) <= MOST_WORDS:
        return [name]
    some = [" ".join(kept) for length in range(1, len(words)) for kept in combinations(words, length)]
    return [" ".join(words), *dict.fromkeys(some)]


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows))), ABSENT, dtype=torch.int64)
    for row, numbers in zip(table, rows, strict=True):
        row[: len(numbers)] = torch.tensor(numbers)
    return table
