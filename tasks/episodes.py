"""Episodes: as row numbers (`EpisodeBatch`, which a sampler draws) and with the rows filled in (`Episodes`, for a method).

Letters in shape comments: E episodes, N ways (classes), S support rows, Q query rows, D feature width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

ABSENT = -1  # the label of a padded place


@dataclass(frozen=True)
class EpisodeBatch:
    """E episodes as row numbers into one split of one dataset.

    Episodes of unequal shape are padded at the end. A padded place has label −1 and row 0; a padded class is −1.

    Attributes:
        support: int64 [E, S], rows. The order is shot-major (first shot of every class, then the second, …), so that the 1-shot
            support is a prefix of the 5-shot support.
        support_labels: int64 [E, S], 0 … N − 1 within the episode, or −1.
        query: int64 [E, Q], rows.
        query_labels: int64 [E, Q], 0 … N − 1 or −1.
        classes: int64 [E, N], class numbers in the split, or −1.
        index: int64 [E], the episodes' numbers in the task.
        seeds: int64 [E], ≥ 0, for a method's own random numbers; zeros in a batch that no sampler drew.
        unlabelled: int64 [E, M], rows of images without labels; M is 0 in most tasks.
    """

    support: np.ndarray
    support_labels: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray
    seeds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    unlabelled: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int64))

    def __post_init__(self) -> None:
        """Give episodes without seeds the seed 0, and those without unlabelled images none."""
        if not len(self.seeds):
            object.__setattr__(self, "seeds", np.zeros(len(self), np.int64))
        if not len(self.unlabelled):
            object.__setattr__(self, "unlabelled", np.zeros((len(self), 0), np.int64))

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, episodes: slice | np.ndarray) -> EpisodeBatch:
        """Select episodes by slice or index array."""
        return EpisodeBatch(**{one.name: getattr(self, one.name)[episodes] for one in fields(self)})

    def trimmed(self) -> EpisodeBatch:
        """The same episodes, without columns that are padding in every episode."""
        s, q, n = (_columns_used(labels) for labels in (self.support_labels, self.query_labels, self.classes))
        return replace(
            self,
            support=self.support[:, :s],
            support_labels=self.support_labels[:, :s],
            query=self.query[:, :q],
            query_labels=self.query_labels[:, :q],
            classes=self.classes[:, :n],
        )

    def as_bytes(self) -> bytes:
        """The drawn numbers as little-endian 32-bit integers, episode after episode, so that batch size does not matter."""
        parts = (self.support, self.support_labels, self.query, self.query_labels, self.classes, self.unlabelled)
        return np.concatenate(parts, axis=1).astype("<i4").tobytes()


def _columns_used(labels: np.ndarray) -> int:
    used = np.flatnonzero((labels != ABSENT).any(axis=0))
    return int(used[-1]) + 1 if len(used) else 0


def digest(batches: Iterable[EpisodeBatch]) -> str:
    """Hexadecimal SHA-256 over the drawn indices of consecutive batches."""
    sha = hashlib.sha256()
    for batch in batches:
        sha.update(batch.as_bytes())
    return sha.hexdigest()


def check_tasks(batch: EpisodeBatch, rows: int | None = None) -> None:
    """Check that every episode of a batch is a task on which a method can be evaluated.

    Args:
        batch: from a sampler or a file.
        rows: number of rows of the split; None where the split is not known yet.

    Raises:
        UserError: a task has fewer than two classes, no query, a query whose class has no support, or a label or row that does
            not exist; the message names the first such task.
    """
    present = batch.classes != ABSENT  # [E, N]

    def refuse(wrong: Any, what: str) -> None:
        if wrong.any():
            raise UserError(f"task {batch.index[int(wrong.argmax())]} {what}")

    refuse(np.count_nonzero(present, axis=1) < 2, "has fewer than two classes")
    shown, asked = (_named(labels, present, refuse) for labels in (batch.support_labels, batch.query_labels))
    refuse(~asked.any(axis=1), "has no query")
    unsupported = asked & ~shown
    if unsupported.any():
        task, label = np.argwhere(unsupported)[0]
        raise UserError(f"task {batch.index[task]} has queries of class {batch.classes[task, label]} and no support of it")
    for drawn in (batch.support, batch.query, batch.unlabelled):
        if rows is not None and drawn.size and (drawn.min() < 0 or drawn.max() >= rows):
            refuse(((drawn < 0) | (drawn >= rows)).any(axis=1), f"names an image that is not one of the {rows} of this split")


def _named(labels: np.ndarray, present: np.ndarray, refuse: Callable[[Any, str], None]) -> np.ndarray:
    """Whether each class of each episode is among labels [E, S]: bool [E, N]."""
    episodes, ways = present.shape
    named = np.zeros((episodes, ways + 1), dtype=bool)
    if labels.size:
        if labels.min() < ABSENT or labels.max() >= ways:
            refuse(((labels < ABSENT) | (labels >= ways)).any(axis=1), f"has a label that is not one of its {ways} classes")
        named[np.arange(episodes)[:, None], labels] = True  # padding, −1, goes into the last column
    refuse((named[:, :ways] & ~present).any(axis=1), "has an image of a class that it does not name")
    return named[:, :ways]


@dataclass(frozen=True)
class TrainClasses:
    """Features of the train classes, which are looked up class by class, so that memory need not hold them all.

    Attributes:
        means: float64 [C, D], mean feature of each class.
        features_of: gives the features, float [n, D], of a class by its number.
        factors: what `methods/parts/class_factors.py` keeps of the classes, which would take long to compute in each episode.
    """

    means: Tensor
    features_of: Callable[[int], Tensor]
    factors: dict[tuple[int, Any], Tensor] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes with its rows filled in: the input of a method.

    Attributes:
        support: float [E, S, D] features or [E, S, C, H, W] images, depending on the method's `inputs`.
        support_labels: int64 [E, S], 0 … N − 1, or −1 where a place is padding.
        query: float [E, Q, D] or [E, Q, C, H, W]. Scores of padded queries are ignored.
        ways: N, the largest number of classes in any episode of the batch.
        class_mask: bool [E, N], False where an episode has fewer classes. Scores there are ignored.
        query_mask: bool [E, Q], False where a place is padding; None without padding.
        seeds: int64 [E], one seed an episode for a method's own random numbers; a function of task seed and episode index.
        class_names: names [E][N], for methods that set `uses_class_names`.
        text: float [E, N, D], the text feature of each class, of length 1, for methods that set `uses_text`; zeros where an
            episode has fewer classes.
        text_tower: module from texts to text features, for methods that set `uses_text_tower`. A method leaves it unchanged.
        train_mean: float [D], mean feature of the train split, for methods that set `uses_train_mean`.
        train_classes: features of the train split by class, for methods that set `uses_train_classes`.
        backbone: the encoder, for methods whose `inputs` are images. A method leaves it unchanged. Where the method adapts
            copies of its parameters, only those that require grad may move.
        tune: the part of the model that an adapting method may move: none, norm, head, last-block, lora, prompt, prompt-pool or
            full. `none` means no adaptation; `head` leaves the backbone as it is.
        learned: the learned module of the method beside the backbone (`Method.learned_part`), where it has one.
        query_labels: int64 [E, Q]; given in meta-training only, never in an evaluation.
        unlabelled: float [E, M, D], features of images without labels, for methods that set `uses_unlabelled`; None where the
            task has none.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    ways: int
    class_mask: Tensor
    seeds: Tensor
    query_mask: Tensor | None = None
    class_names: tuple[tuple[str, ...], ...] | None = None
    text: Tensor | None = None
    text_tower: nn.Module | None = None
    train_mean: Tensor | None = None
    train_classes: TrainClasses | None = None
    backbone: nn.Module | None = None
    tune: str = "none"
    learned: nn.Module | None = None
    query_labels: Tensor | None = None
    unlabelled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.support)

    @property
    def padded(self) -> bool:
        """Whether any place is padding. A transductive method cannot take such a batch as a whole."""
        whole = self.class_mask.all() and (self.support_labels >= 0).all()
        return not (whole and (self.query_mask is None or self.query_mask.all()))
