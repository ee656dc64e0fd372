"""The inner loop: fill a batch of episodes, let the method score it, turn scores into one accuracy an episode.

Letters in shape comments: E episodes, N ways (classes), S support rows, Q query rows, D feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core.errors import UserError
from ...methods.base import Method
from ...tasks.episodes import ABSENT, EpisodeBatch
from ..plugin_errors import told
from .scores import accuracies_of, credit, votes
from .source import Inputs, Source

# Episodes are scored in chunks on a fixed grid (0, chunk, 2·chunk, …), so that an interrupted run ends in the same bits as an
# undisturbed one. So a chunk depends on the method and the shape of its episodes alone: it is the largest power of two that
# touches at most TOUCHED bytes. Smaller chunks cost calls; larger ones fall out of the cache and hold more memory.
TOUCHED = 2**24
SMALLEST, CHUNK = 16, 256  # episodes of a chunk of features
IMAGE_CHUNK = 4


class Answers(NamedTuple):
    """The predictions of a method for the queries of a batch.

    Attributes:
        predicted: int64 [E, Q], the class with the highest score (the first of those tied), or −1 where there is no query.
        credit: float64 [E, Q], as the function `credit` gives it.
    """

    predicted: np.ndarray
    credit: np.ndarray


@dataclass(frozen=True)
class Evaluator:
    """A method and the source of its episodes: together they answer batches.

    Attributes:
        method: the classifier.
        source: where rows are looked up.
        name: of the method, in messages.
    """

    method: Method
    source: Source
    name: str

    def chunks(
        self, batches: Iterable[EpisodeBatch], keep: Callable[[EpisodeBatch, Tensor, Tensor], None] | None = None
    ) -> Iterator[tuple[EpisodeBatch, np.ndarray]]:
        """Score batches, chunk by chunk.

        Args:
            batches: of episodes.
            keep: given each chunk without padding, and what `score` returns for it.

        Yields:
            Each chunk with the accuracies of its episodes, float64 [E], fractions: the mean of the `credit` of the queries.

        Raises:
            UserError: as `score` does.
        """
        for batch in batches:
            for part in self._parts(batch):
                trimmed = part.trimmed()
                scores, labels = next(self.score(trimmed))
                if keep is not None:
                    keep(trimmed, scores, labels)
                yield part, accuracies_of(scores, labels)

    def trials(self, batch: EpisodeBatch, candidates: Sequence[Method]) -> Iterator[tuple[int, np.ndarray]]:
        """Score a batch by several settings of the method, chunk by chunk; each chunk is looked up once.

        Yields:
            The number of a setting and the accuracies of a chunk's episodes, float64 [E].

        Raises:
            UserError: as `score` does.
        """
        for part in self._parts(batch):
            for number, found in enumerate(self.score(part.trimmed(), candidates)):
                yield number, accuracies_of(*found)

    def _parts(self, batch: EpisodeBatch) -> Iterator[EpisodeBatch]:
        chunk = chunk_size(self.method, batch, self.source.inputs, self.source.width)
        return (batch[i : i + chunk] for i in range(0, len(batch), chunk))

    def accuracies(self, batch: EpisodeBatch) -> np.ndarray:
        """Accuracies of a whole batch, float64 [E], scored chunk by chunk."""
        return np.concatenate([found for _, found in self.chunks([batch])])

    def predictions(self, batch: EpisodeBatch) -> Answers:
        """The answer to every query of a trimmed batch.

        Raises:
            UserError: as `score` does.
        """
        scores, labels = next(self.score(batch))
        predicted = scores.argmax(dim=2).masked_fill(labels == ABSENT, ABSENT)
        return Answers(predicted.cpu().numpy(), credit(scores, labels).cpu().numpy())

    def score(self, batch: EpisodeBatch, candidates: Sequence[Method] = ()) -> Iterator[tuple[Tensor, Tensor]]:
        """Let the method score every query of a batch without columns that are padding throughout (`EpisodeBatch.trimmed`).

        Args:
            batch: of episodes.
            candidates: settings of the method that score in turn; without any, the method itself does.

        Yields:
            For each setting its scores [E, Q, N], −∞ for the classes that an episode does not have, or the votes of the views;
            true labels, int64 [E, Q].

        Raises:
            UserError: the method failed, or its scores have the wrong shape or kind or are not finite; the line names
                method and episode.
        """
        candidates = candidates or [self.method]
        labels = torch.tensor(batch.query_labels, device=self.source.device)  # [E, Q]
        class_mask = torch.tensor(batch.classes != ABSENT, device=self.source.device)  # [E, N]
        views = [candidates[0].classify_each(one.fill(batch, self.method), candidates) for one in self.source.views]
        for _ in candidates:
            with torch.no_grad(), self._failures_named(batch):
                of_views = [next(view) for view in views]
            for scores in of_views:
                self._check(scores, batch, labels != ABSENT, class_mask)
            of_views = [one if one.is_floating_point() else one.double() for one in of_views]  # votes are scores too
            of_views = [one.masked_fill(~class_mask[:, None], -torch.inf) for one in of_views]
            yield votes(of_views) if self.source.voters else of_views[0], labels

    @contextmanager
    def _failures_named(self, batch: EpisodeBatch) -> Iterator[None]:
        """Tell in one line whatever the method raises: a plug-in is somebody else's code."""
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            first, last = batch.index[0], batch.index[-1]
            raise UserError(f"method {self.name} failed in episodes {first} to {last}: {told(error)}") from error

    def _check(self, scores: object, batch: EpisodeBatch, present: Tensor, class_mask: Tensor) -> None:
        """Check what a method returned; padding may hold anything, and −∞ says "never this class" beside a finite score."""
        shape, first = (*present.shape, class_mask.shape[1]), int(batch.index[0])
        if not isinstance(scores, Tensor) or tuple(scores.shape) != shape:
            got = f"shape {list(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
            raise UserError(
                f"method {self.name} returned scores of {got} for episode {first} and following; expected a tensor "
                f"[episodes, queries, ways] = {list(shape)}"
            )
        if scores.is_complex() or scores.device != present.device or scores.layout != torch.strided:
            got = f"{scores.dtype}, {scores.layout}, on {scores.device}".replace("torch.", "")
            raise UserError(
                f"method {self.name} returned scores of {got} for episode {first} and following; expected real numbers, "
                f"strided, on {present.device}"
            )
        finite = scores.isfinite()
        if finite.all():
            return
        there = present[..., None] & class_mask[:, None]  # [E, Q, N]
        hopeless = present & ~(finite & there).any(dim=2)  # [E, Q]
        for what, bad in (
            ("NaN scores", scores.isnan() & there),
            ("scores of +∞", (scores == torch.inf) & there),
            ("no finite score for a query", hopeless),
        ):
            if bad.any():
                episode = int(bad.flatten(1).any(dim=1).nonzero()[0])
                raise UserError(f"method {self.name} returned {what} in episode {int(batch.index[episode])}")


def chunk_size(method: Method, batch: EpisodeBatch, inputs: Inputs, width: int) -> int:
    """Episodes that a method sees at once.

    Args:
        method: the classifier.
        batch: episodes; the columns of all batches of a sampler are the same.
        inputs: features or images.
        width: of a feature.
    """
    if inputs == "images":
        return IMAGE_CHUNK
    asked = batch.query.shape[1] + batch.unlabelled.shape[1]
    touched = method.touched(batch.support.shape[1], asked, batch.classes.shape[1], width)
    return min(CHUNK, max(SMALLEST, 1 << max(0, (TOUCHED // max(1, touched)).bit_length() - 1)))
