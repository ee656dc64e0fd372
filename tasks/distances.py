"""Distances between classes from a taxonomy, the coarsity of a task, and the CSV file of a distance matrix.

Letters in shape comments: C classes, E tasks, N ways.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import UserError
from ..core.files import write_atomically
from ..core.tables import csv_rows
from .episodes import ABSENT
from .taxonomy import Taxonomy


def jiang_conrath(taxonomy: Taxonomy, classes: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Jiang and Conrath's distance, with image counts for probabilities (Bennequin et al. 2022, arXiv:2205.05155).

    D(a, b) = 2 ln N(LCA(a, b)) − ln N(a) − ln N(b), where N(x) is the number of images in the classes at or below x and
    LCA(a, b), the lowest common ancestor, is the common ancestor with the smallest N (a node is its own ancestor).

    Args:
        taxonomy: holds every class.
        classes: identifiers of the C classes of a split.
        counts: int [C], images of each class.

    Returns:
        float64 [C, C] in natural units: symmetric, with a zero diagonal, at least 0.

    Raises:
        UserError: a class is not in the taxonomy or has no images.
    """
    counts = np.asarray(counts, dtype=np.float64)
    for class_id, count in zip(classes, counts, strict=True):
        if count <= 0:
            raise UserError(f"class '{class_id}' has no images, so its distances are not defined")
    members = taxonomy.members(classes)
    log_size = {node: np.log(counts[places].sum()) for node, places in members.items()}
    lowest = np.zeros((len(classes), len(classes)))  # [C, C], ln N of the lowest common ancestor
    for node in sorted(members, key=log_size.__getitem__, reverse=True):  # so that smaller nodes overwrite larger ones
        lowest[np.ix_(members[node], members[node])] = log_size[node]
    own = np.array([log_size[node] for node in classes])
    distances = 2 * lowest - (own[:, None] + own[None, :])  # summed first: exactly symmetric
    np.fill_diagonal(distances, 0.0)
    return np.maximum(distances, 0.0)


def coarsity(distances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mean squared distance over the pairs of classes of each task; small means fine-grained (Bennequin et al. 2022).

    Args:
        distances: float [C, C].
        classes: int [E, N], class numbers, or −1 where a task has fewer classes.

    Returns:
        float64 [E]; 0 for a task of a single class.
    """
    squares = distances**2
    present = classes != ABSENT
    total = np.zeros(len(classes))
    pairs = np.zeros(len(classes))
    for i in range(classes.shape[1] - 1):
        both = present[:, i, None] & present[:, i + 1 :]  # [E, N − 1 − i]
        total += np.where(both, squares[classes[:, i, None], classes[:, i + 1 :]], 0.0).sum(axis=1)
        pairs += both.sum(axis=1)
    return total / np.maximum(pairs, 1)


def write_matrix(path: Path, classes: Sequence[str], distances: np.ndarray) -> None:
    """Write a distance matrix as CSV, with class identifiers as header row and first column and all digits.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *classes])
    writer.writerows([class_id, *map(float, row)] for class_id, row in zip(classes, distances, strict=True))
    write_atomically(path, text.getvalue().encode())


def read_matrix(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Read the distances between `classes` from a CSV matrix, whose order may differ.

    Returns:
        float64 [C, C] in the order of `classes`.

    Raises:
        UserError: the file cannot be read, or does not hold the distances of exactly these classes.
    """
    rows = csv_rows(path)
    columns = rows[0][1:] if rows else []
    if len(rows) - 1 != len(columns) or any(len(row) != len(columns) + 1 for row in rows):
        raise UserError(f"{path}: not a square matrix with class identifiers as header row and first column")
    if columns != [row[0] for row in rows[1:]]:
        raise UserError(f"{path}: the header row and the first column do not name the same classes in the same order")
    if len(columns) != len(classes):
        raise UserError(f"{path}: distances of {len(columns)} classes, but the split has {len(classes)}")
    if set(columns) != set(classes):
        missing = next(class_id for class_id in classes if class_id not in columns)
        raise UserError(f"{path}: no distances for class '{missing}'")
    try:
        distances = np.array([row[1:] for row in rows[1:]], dtype=np.float64)
    except ValueError as error:
        raise UserError(f"{path}: a distance is not a number") from error
    order = [columns.index(class_id) for class_id in classes]
    return _checked(distances[np.ix_(order, order)], path)


def _checked(distances: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(distances).all():
        raise UserError(f"{path}: a distance is not finite")
    if (distances < 0).any():
        raise UserError(f"{path}: a distance is negative")
    if np.diag(distances).any():
        raise UserError(f"{path}: the distance of a class to itself is not 0")
    if not np.allclose(distances, distances.T, rtol=1e-9, atol=1e-12):
        raise UserError(f"{path}: the matrix is not symmetric")
    return distances
