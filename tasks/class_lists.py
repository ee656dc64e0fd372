"""The class lists of datasets whose images are not shipped: split, identifier, readable name, and superclass."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from .taxonomy import Taxonomy
from .wordnet import wordnet_taxonomy

LISTS = Path(__file__).parent / "datasets" / "lists"

# Images a class as published. Distances between classes use these counts where the images are absent.
IMAGES_PER_CLASS = {"mini-imagenet": 600, "tiered-imagenet": 1300, "cifar-fs": 600, "fc100": 600}


@dataclass(frozen=True)
class ListedClass:
    """One class of a dataset.

    Attributes:
        split: train, val or test.
        class_id: WordNet id, fine label of CIFAR-100 or folder of CUB-200.
        name: readable name, unique within the dataset.
        parent: superclass of CIFAR-100; "" in other datasets.
    """

    split: str
    class_id: str
    name: str
    parent: str = ""


def listed_classes(dataset: str, split: str) -> list[ListedClass]:
    """The classes of a split in label order.

    The sources: mini-imagenet, Ravi and Larochelle 2017 (openreview rJY0-Kcll); tiered-imagenet, Ren et al. 2018
    (arXiv:1803.00676); cifar-fs, Bertinetto et al. 2019 (arXiv:1805.08136); fc100, Oreshkin et al. 2018
    (arXiv:1805.10123); cub-200, the alternating split of Chen et al. 2019 (arXiv:1904.04232).
    """
    with (LISTS / f"{dataset}.csv").open(encoding="utf-8", newline="") as file:
        return [ListedClass(**row) for row in csv.DictReader(file) if row["split"] == split]


def listed_taxonomy(dataset: str, split: str) -> Taxonomy:
    """The taxonomy of a split: WordNet for ImageNet's subsets, CIFAR-100's superclasses for its own.

    Raises:
        UserError: the dataset's list has no taxonomy.
    """
    classes = listed_classes(dataset, split)
    if all(listed.parent for listed in classes):
        return Taxonomy.from_parent_table({listed.class_id: listed.parent for listed in classes})
    if dataset not in IMAGES_PER_CLASS:
        raise UserError(f"{dataset} has no taxonomy; bring one (a parent table) or a distance matrix of your own")
    return wordnet_taxonomy([listed.class_id for listed in classes])
