"""The classes of a split and what they mean to each other, with or without the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.progress import SILENT, Progress
from ...tasks.class_lists import IMAGES_PER_CLASS
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import split_name
from ...tasks.distances import jiang_conrath, read_matrix
from .. import registry
from ..scopes import of_dataset
from ..text.distances import SCHEME, text_distances


@dataclass(frozen=True)
class Classes:
    """The classes of a split, with or without its images.

    Attributes:
        dataset: the dataset.
        class_ids: identifiers in label order.
        counts: int64 [C], images a class; where the images are not there, the published number.
        offsets: int64 [C + 1], where the rows of each class begin, or None without images.
        fingerprint: of the images, or None without them.
    """

    dataset: Dataset
    class_ids: tuple[str, ...]
    counts: np.ndarray
    offsets: np.ndarray | None = None
    fingerprint: str | None = None


def classes_of(name: str, assignments: list[str], split: str, with_images: bool, progress: Progress = SILENT) -> Classes:
    """The classes of a dataset's split.

    Args:
        name: registered name of the dataset.
        assignments: its parameters as `name=value` or `dataset.name=value`.
        split: train, val or test.
        with_images: open (and if need be prepare) the images.
        progress: told of preparation.

    Raises:
        UserError: an unknown name, or the images are wanted and not there.
    """
    dataset: Dataset = registry.make("datasets", name, of_dataset(assignments))
    if with_images or dataset.problem(split_name(split)) is None:
        opened = dataset.split(split, progress)
        counts = np.diff(opened.offsets)
        return Classes(dataset, opened.class_ids, counts, opened.offsets if with_images else None, opened.fingerprint)
    ids = tuple(class_id for class_id, _ in dataset.class_list(split_name(split)))
    return Classes(dataset, ids, np.full(len(ids), IMAGES_PER_CLASS.get(name, 1)))


def class_distances(
    dataset: Dataset, split: str, class_ids: tuple[str, ...], counts: np.ndarray, matrix: str | None
) -> np.ndarray:
    """Distances between the classes of a split, float64 [C, C]: from a CSV matrix, a text tower, or the taxonomy.

    Args:
        dataset: whose taxonomy counts where `matrix` is None.
        split: train, val or test.
        class_ids: the split's classes.
        counts: images a class.
        matrix: path of a CSV file, or `open_clip:ARCH/TAG`: distances of the class names by its text tower.

    Raises:
        UserError: the matrix does not fit, or the dataset has no taxonomy.
    """
    if matrix is not None and matrix.startswith(SCHEME):
        return text_distances(matrix.removeprefix(SCHEME), [name for _, name in dataset.class_list(split)])
    if matrix is not None:
        return read_matrix(Path(matrix), class_ids)
    return jiang_conrath(dataset.taxonomy(split), class_ids, counts)
