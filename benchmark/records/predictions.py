"""The answers to all queries of a run, in a file beside its record. The record names the file by its SHA-256."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.files import os_errors_named, regular_file, write_atomically
from .record import TOLERANCE, RunRecord
from .sections import Kept

MOST_ANSWERS = 20_000_000  # of a run: 400 MB in memory
DIGITS = 16  # of the hash, in the file's name
LATER = "own"  # which older files lack
COUNT, SHARE = np.dtype("<u4"), np.dtype("<f4")
AGAIN = "repeat its run with --keep-predictions"


@dataclass(frozen=True)
class Predictions:
    """Answers of consecutive episodes, query by query.

    Attributes:
        queries: uint32 [E], number of queries of each episode.
        row: uint32 [A], row of the query image in the split.
        true: uint32 [A], its class, a number in the split.
        predicted: uint32 [A], the class with the highest score, the first of those tied.
        ties: uint32 [A], 0 where the answer is wrong, else the number of classes that share the highest score.
        confidence: float32 [A], probability of the predicted class (`Kept.confidence`).
        own: float32 [A], probability of the true class; None in files from before it was kept.
    """

    queries: np.ndarray
    row: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    ties: np.ndarray
    confidence: np.ndarray
    own: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.queries)

    @property
    def credit(self) -> np.ndarray:
        """float64 [A]: 1 right, 0 wrong, 1/t where t classes are tied and the right one is among them."""
        return np.divide(1.0, self.ties, out=np.zeros(len(self.ties)), where=self.ties > 0)

    @property
    def starts(self) -> np.ndarray:
        """int64 [E + 1]: the answers of episode i begin at `starts[i]`, those after the last would begin at the end."""
        return np.concatenate([[0], np.cumsum(self.queries, dtype=np.int64)])

    @property
    def accuracies(self) -> np.ndarray:
        """float64 [E], the accuracy of each episode."""
        return np.add.reduceat(self.credit, self.starts[:-1]) / self.queries

    def first(self, episodes: int) -> Predictions:
        """The answers of the first episodes."""
        answers = int(self.starts[episodes])
        parts = {name: array[:answers] for name, array in self._arrays().items() if name != "queries"}
        return Predictions(queries=self.queries[:episodes], **parts)

    def _arrays(self) -> dict[str, Any]:
        """The arrays that there are, by name."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def joined(cls, pieces: Sequence[Predictions]) -> Predictions:
        """The answers of pieces, one after the other."""
        arrays = [piece._arrays() for piece in pieces]
        names = [one.name for one in fields(cls) if all(one.name in of_piece for of_piece in arrays)]
        return cls(**{name: np.concatenate([of_piece[name] for of_piece in arrays]) for name in names})

    def to_bytes(self, compressed: bool = True) -> bytes:
        """The content of an npz file; the same bytes for the same answers and version of zlib."""
        buffer = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(buffer, **self._arrays())
        return buffer.getvalue()


def predictions_path(record: Path, sha256: str) -> Path:
    """The place of the predictions with a SHA-256, beside their record."""
    return record.with_name(f"{record.name.removesuffix('.json')}.{sha256[:DIGITS]}.npz")


def write_predictions(predictions: Predictions, record: Path, are_probabilities: bool, compressed: bool = True) -> Kept:
    """Write predictions beside the place of their record.

    Returns:
        The record's section that names them.

    Raises:
        UserError: the file cannot be written.
    """
    content = predictions.to_bytes(compressed)
    sha256 = hashlib.sha256(content).hexdigest()
    write_atomically(predictions_path(record, sha256), content)
    return Kept(sha256, len(predictions.row), "score" if are_probabilities else "softmax")


def remove_predictions(record: Path, but: Kept | None = None) -> None:
    """Remove the predictions beside a record's place, except those that it names."""
    kept = None if but is None else predictions_path(record, but.sha256)
    for path in record.parent.glob(predictions_path(Path("*"), "?" * DIGITS).name):
        if path != kept and path == predictions_path(record, path.name[: -len(".npz")][-DIGITS:]):
            path.unlink(missing_ok=True)


def copy_predictions(record: RunRecord, path: Path, target: Path) -> None:
    """Copy the predictions of a record, if it has any, beside the place to which it goes.

    Raises:
        UserError: they are not sound, or cannot be written.
    """
    if record.predictions is not None:
        load_predictions(path, record)
        content = predictions_path(path, record.predictions.sha256).read_bytes()
        write_atomically(predictions_path(target, record.predictions.sha256), content)


def load_predictions(path: Path, record: RunRecord) -> Predictions:
    """Read the predictions of a record.

    Args:
        path: the record's file, beside which they are.
        record: its content.

    Raises:
        UserError: the record has none, or their file is not there or is not the one that the record names.
    """
    kept = record.predictions
    if kept is None:
        raise UserError(f"{path} has no predictions; {AGAIN}")
    file = predictions_path(path, kept.sha256)
    with os_errors_named("cannot read predictions"):
        if not file.exists():
            raise UserError(f"{path} names predictions that are not beside it ({file.name}); {AGAIN}")
        content = regular_file(file).read_bytes()
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        raise UserError(f"{file} is damaged: its SHA-256 is not that of its record; {AGAIN}")
    try:
        found = _read(content, record.n_episodes, kept.answers)
        if not np.allclose(found.accuracies, record.accuracies, rtol=0, atol=TOLERANCE):
            raise ValueError("they do not have the record's accuracies")
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UserError(f"{file} is not the predictions of its record ({error}); {AGAIN}") from error
    return found


def _read(content: bytes, episodes: int, answers: int) -> Predictions:
    """Read an npz file whose arrays have a known size, and no more than that of it.

    Raises:
        ValueError: an array has another size or type, or the numbers of queries do not add up.
    """
    parts = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for one in fields(Predictions):
            if one.name == LATER and f"{LATER}.npy" not in archive.namelist():
                continue
            kind = SHARE if one.name in ("confidence", LATER) else COUNT
            length = episodes if one.name == "queries" else answers
            with archive.open(f"{one.name}.npy") as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError(f"{one.name} is of another format")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                data = file.read(length * kind.itemsize + 1)
            if (shape, dtype) != ((length,), kind) or len(data) != length * kind.itemsize:
                raise ValueError(f"{one.name} is not {length} numbers")
            parts[one.name] = np.frombuffer(data, kind)
    found = Predictions(**parts)
    if (found.queries == 0).any() or int(found.starts[-1]) != answers:
        raise ValueError("the numbers of queries do not add up")
    return found
