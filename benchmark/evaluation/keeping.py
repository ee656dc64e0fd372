"""Gathers the answers of a run, chunk by chunk, for the file beside its record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ...core.errors import UsageError
from ...tasks.episodes import ABSENT, EpisodeBatch
from ..records.predictions import COUNT, MOST_ANSWERS, SHARE, Predictions, load_predictions, write_predictions
from ..records.record import RunRecord
from ..records.sections import Kept
from .scores import credit

NEAR = 1e-4  # of 1, that the probabilities of a query may add up to


class Keeper:
    """The answers of the episodes that are done.

    Attributes:
        pieces: the answers, in the order of the episodes.
        are_probabilities: whether all scores were probabilities by themselves.
    """

    def __init__(self, path: Path, earlier: RunRecord | None) -> None:
        """Take up what an interrupted run left.

        Args:
            path: of its record.
            earlier: its record, whose predictions were found sound.
        """
        kept = None if earlier is None else earlier.predictions
        self.pieces = [] if earlier is None or kept is None else [load_predictions(path, earlier)]
        self.are_probabilities = kept is None or kept.confidence == "score"

    def begin(self, episodes: int, batch: EpisodeBatch, done: int) -> None:
        """Check that all answers find room, and keep those of the episodes that stay done.

        Raises:
            UsageError: there would be too many.
        """
        answers = episodes * batch.query.shape[1]
        if answers > MOST_ANSWERS:
            raise UsageError(
                f"--keep-predictions: {episodes:,} episodes may have {answers:,} answers, more than {MOST_ANSWERS:,}; "
                "take fewer episodes"
            )
        self.pieces = [piece.first(done) for piece in self.pieces]

    def add(self, batch: EpisodeBatch, scores: Tensor, labels: Tensor) -> None:
        """Keep the answers to a batch.

        Args:
            batch: of E episodes.
            scores: [E, Q, N], −∞ for classes that an episode does not have.
            labels: int64 [E, Q].
        """
        asked = batch.query_labels != ABSENT  # [E, Q]
        rows = scores[labels != ABSENT].double()  # [A, N]
        share = rows.clamp(min=0)
        if not (((rows == share) | rows.isneginf()).all() and ((share.sum(dim=1) - 1).abs() <= NEAR).all()):
            share, self.are_probabilities = rows.softmax(dim=1), False
        own = share.gather(1, labels[labels != ABSENT][:, None])[:, 0]
        right = credit(scores, labels).cpu().numpy()[asked]
        episode = np.nonzero(asked)[0]
        piece = Predictions(
            queries=asked.sum(axis=1).astype(COUNT),
            row=batch.query[asked].astype(COUNT),
            true=batch.classes[episode, batch.query_labels[asked]].astype(COUNT),
            predicted=batch.classes[episode, rows.argmax(dim=1).cpu().numpy()].astype(COUNT),
            ties=np.rint(np.divide(1.0, right, out=np.zeros(len(right)), where=right > 0)).astype(COUNT),
            confidence=share.amax(dim=1).cpu().numpy().astype(SHARE),
            own=own.cpu().numpy().astype(SHARE),
        )
        self.pieces.append(piece)

    def write(self, record: Path, complete: bool) -> Kept | None:
        """Write the answers beside the place of their record; those of an unfinished one, uncompressed, since that is faster.

        Returns:
            The record's section; None where there are no answers.
        """
        if not self.pieces:
            return None
        self.pieces = [Predictions.joined(self.pieces)]
        return write_predictions(self.pieces[0], record, self.are_probabilities, compressed=complete)
