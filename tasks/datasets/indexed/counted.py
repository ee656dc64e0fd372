"""Images by number with their labels, out of whatever is read like a dataset of PyTorch."""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ....core.errors import UserError
from ....core.options import shown
from ..reading.image_files import to_rgb

SAMPLE = 64  # images that stand for all where reading all would take long
LABELS = ("targets", "labels", "_labels")  # where datasets of torchvision keep them


@dataclass(frozen=True)
class Counted:
    """Images by number.

    Attributes:
        labels: int64 [n], the class of each image.
        class_names: one for each class.
        read: gives image k as uint8 [H, W, 3] or the bytes of a file.
        parts: number of images by name of the part (train, test, …), in order.
        side: height and width, where those that were looked at are squares of one size; else None.
        digest: hexadecimal hash of labels and images.
    """

    labels: np.ndarray
    class_names: Sequence[str]
    read: Callable[[int], bytes | np.ndarray]
    parts: Mapping[str, int]
    side: int | None
    digest: str


def counted_of(parts: Mapping[str, Any], owner: str, class_names: Sequence[str] | None = None, sampled: bool = True) -> Counted:
    """The images of datasets that give (image, label) by number.

    Args:
        parts: the datasets by name.
        owner: for messages ("dataset torchvision:CIFAR100").
        class_names: one for each label 0 … N − 1; None: those that a dataset has as `classes`, else the labels themselves.
        sampled: whether a sample of the images stands for all in the digest.

    Raises:
        UserError: an image or a label is of an unknown form, or a label has no name.
    """
    several, counts = list(parts.values()), [len(part) for part in parts.values()]
    ends = np.cumsum(counts).tolist()
    if not ends or not ends[-1]:
        raise UserError(f"{owner}: no images")

    def read(number: int) -> bytes | np.ndarray:
        part = bisect_right(ends, number)
        return pixels(several[part][number - ends[part] + counts[part]][0], owner)

    given = [label for part in several for label in _labels_of(part)]
    names = class_names if class_names is not None else _names_of(several[0])
    labels, names = _named(given, names, owner)
    rows = np.unique(np.linspace(0, ends[-1] - 1, SAMPLE).astype(int)) if sampled else range(ends[-1])
    sha, sides = hashlib.sha256(repr((dict(zip(parts, counts, strict=True)), names)).encode() + labels.tobytes()), set()
    for row in rows:
        image = read(int(row))
        sides.add(_sides(image))
        sha.update(image if isinstance(image, bytes) else repr(image.shape).encode() + image.tobytes())
    height, width = sides.pop()
    side = height if not sides and height == width else None
    return Counted(labels, names, read, dict(zip(parts, counts, strict=True)), side, sha.hexdigest())


def pixels(image: Any, owner: str) -> bytes | np.ndarray:
    """An image as uint8 [H, W, 3], or the bytes of a file as they are.

    Args:
        image: a picture of PIL; a tensor or an array [H, W], [H, W, C] or [C, H, W], uint8 or numbers from 0 to 1; or bytes.
        owner: for the message.

    Raises:
        UserError: it is something else.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    values = np.asarray(image.numpy() if hasattr(image, "numpy") else image)
    if values.ndim == 3 and values.shape[2] not in (1, 3) and values.shape[0] in (1, 3):
        values = values.transpose(1, 2, 0)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        raise UserError(f"{owner}: an image is {values.dtype} {list(values.shape)}; expected height, width and 1 or 3 channels")
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
        values = np.round(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        found = f"{values.dtype} from {values.min():g} to {values.max():g}"
        raise UserError(f"{owner}: an image is {found}; expected uint8, or numbers from 0 to 1")
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def _sides(image: bytes | np.ndarray) -> tuple[int, int]:
    """Height and width; (0, 1) of a file that is no image, which decoding reports."""
    if isinstance(image, np.ndarray):
        return image.shape[0], image.shape[1]
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.height, opened.width
    except Exception:  # for damaged bytes PIL raises many kinds of errors
        return 0, 1


def _labels_of(part: Any) -> Iterable[Any]:
    """The labels: those that a dataset of torchvision keeps and gives as they are; else one by one."""
    for name in LABELS if getattr(part, "target_transform", 0) is None else ():
        kept: Any = getattr(part, name, None)
        if hasattr(kept, "__len__") and len(kept) == len(part):
            return kept.tolist() if hasattr(kept, "tolist") else kept
    return [part[number][1] for number in range(len(part))]


def _names_of(part: Any) -> Sequence[str] | None:
    """The class names that a dataset brings; those of a subset are its dataset's."""
    names = getattr(part, "classes", None) or getattr(getattr(part, "dataset", None), "classes", None)
    return [str(name) for name in names] if isinstance(names, list | tuple) else None


def _named(given: Sequence[Any], names: Sequence[str] | None, owner: str) -> tuple[np.ndarray, Sequence[str]]:
    """Labels as numbers, int64 [n], and a name for each."""
    labels = np.asarray([label.item() if hasattr(label, "item") else label for label in given])
    if labels.ndim != 1 or labels.dtype.kind not in "iuUb":
        raise UserError(f"{owner}: a label is {shown(given[0])}; expected one whole number or text an image")
    if names is None or labels.dtype.kind == "U":
        values, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64), [str(value) for value in values]
    if labels.min() < 0 or labels.max() >= len(names):
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise UserError(f"{owner}: label {wrong} has no name; there are {len(names)} class names")
    if len(set(names)) < len(names):
        raise UserError(f"{owner}: two classes have the same name")
    return labels.astype(np.int64), list(names)
