"""The inner loop: fill a batch of episodes, let the method score it, turn scores into one accuracy an episode.

Letters in shape comments: E episodes, N ways (classes), S support rows, Q query rows, D feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...methods.base import Method
from ...tasks.conditions.acquisition import Acquisition
from ...tasks.datasets.base import Images
from ...tasks.episodes import ABSENT, EpisodeBatch, Episodes, TrainClasses
from ..backbones.base import Preprocess
from ..features.table import FeatureTable
from ..features.transforms import Transforms
from ..plugin_errors import told
from .scores import accuracies_of, credit, votes

# Episodes are scored in chunks on a fixed grid (0, chunk, 2·chunk, …), so that an interrupted run ends in the same bits as an
# undisturbed one. So a chunk depends on the method and the shape of its episodes alone: it is the largest power of two that
# touches at most TOUCHED bytes. Smaller chunks cost calls; larger ones fall out of the cache and hold more memory.
TOUCHED = 2**24
SMALLEST, CHUNK = 16, 256  # episodes of a chunk of features
IMAGE_CHUNK = 4
Inputs = Literal["features", "images"]


@dataclass(frozen=True)
class Source:
    """Where the rows of episodes are looked up.

    Attributes:
        device: where episodes are wanted.
        table: features of the split, for methods on features.
        images: uint8 [n, H, W, C], for methods on images.
        preprocess: makes images ready for the backbone.
        backbone: for methods on images.
        class_names: of the split.
        train_mean: float [D], for methods that use it.
        train_classes: for methods that use them.
        tune: what an adapting method may move.
        learned: what the method learned beside the backbone, for methods that have such a part.
        text: float [C, D], the text feature of each class of the split, for methods that use it.
        text_tower: for methods that use it.
        transforms: of the features, before the method sees them.
        acquisition: gives labels to images without, by their features before the transforms.
        voters: features of further views of the split; each view is classified by itself, and the majority counts.
    """

    device: torch.device
    table: FeatureTable | None = None
    images: Images | None = None
    preprocess: Preprocess | None = None
    backbone: nn.Module | None = None
    class_names: tuple[str, ...] = ()
    train_mean: Tensor | None = None
    train_classes: TrainClasses | None = None
    tune: str = "none"
    learned: nn.Module | None = None
    text: Tensor | None = None
    text_tower: nn.Module | None = None
    transforms: Transforms = Transforms()
    acquisition: Acquisition | None = None
    voters: tuple[FeatureTable, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """The kind of its rows."""
        return "images" if self.table is None else "features"

    @property
    def width(self) -> int:
        """D of the features; 0 where its rows are images."""
        return 0 if self.table is None else self.table.features.shape[1]

    def rows(self, index: np.ndarray) -> Tensor:
        """The content of rows [E, R]: features [E, R, D] or images [E, R, C, H, W]."""
        if self.table is not None:
            return self.table.gather(index)
        assert self.images is not None and self.preprocess is not None
        flat = torch.from_numpy(self.images[index.reshape(-1)]).to(self.device)
        images = self.preprocess(flat).contiguous(memory_format=torch.channels_last)  # an eighth faster on a CPU
        return images.unflatten(0, index.shape)


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
                scores, labels = self.score(trimmed)
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
            for number, found in enumerate(self._scored(part.trimmed(), candidates)):
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
        scores, labels = self.score(batch)
        predicted = scores.argmax(dim=2).masked_fill(labels == ABSENT, ABSENT)
        return Answers(predicted.cpu().numpy(), credit(scores, labels).cpu().numpy())

    def score(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Let the method score every query of a batch without columns that are padding throughout (`EpisodeBatch.trimmed`).

        Returns:
            Scores [E, Q, N], −∞ for the classes that an episode does not have; true labels, int64 [E, Q].

        Raises:
            UserError: the method failed, or its scores have the wrong shape or kind or are not finite; the line names
                method and episode.
        """
        return next(self._scored(batch, [self.method]))

    def _scored(self, batch: EpisodeBatch, candidates: Sequence[Method]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each setting of the method what `score` returns; where views vote, the scores are their votes."""
        if not self.source.voters:
            yield from self._scored_once(batch, candidates)
            return
        sources = (replace(self.source, table=table, voters=()) for table in (self.source.table, *self.source.voters))
        of_views = [replace(self, source=source)._scored_once(batch, candidates) for source in sources]
        for found in zip(*of_views, strict=True):
            yield votes([scores for scores, _ in found]), found[0][1]

    def _scored_once(self, batch: EpisodeBatch, candidates: Sequence[Method]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each setting of the method what `score` returns for the source's own table."""
        scores_of_each = candidates[0].classify_each(self.fill(batch), candidates)
        labels = torch.tensor(batch.query_labels, device=self.source.device)  # [E, Q]
        class_mask = torch.tensor(batch.classes != ABSENT, device=self.source.device)  # [E, N]
        for _ in candidates:
            try:
                with torch.no_grad():
                    scores = next(scores_of_each)
            except (UserError, KeyboardInterrupt):
                raise
            except (Exception, SystemExit) as error:
                # A plug-in is somebody else's code: whatever it raises is told in one line.
                first, last = batch.index[0], batch.index[-1]
                raise UserError(f"method {self.name} failed in episodes {first} to {last}: {told(error)}") from error
            self._check(scores, batch, labels != ABSENT, class_mask)
            scores = scores if scores.is_floating_point() else scores.double()  # votes are scores too
            yield scores.masked_fill(~class_mask[:, None], -torch.inf), labels

    def fill(self, batch: EpisodeBatch) -> Episodes:
        """Look up the rows of a batch, and all else that the method asks for. The labels of the queries stay behind."""
        method, source = self.method, self.source
        if source.acquisition is not None:
            batch = source.acquisition.labelled(batch, lambda rows: source.rows(rows[None])[0].cpu().numpy())
        names = None
        if method.uses_class_names:
            names = tuple(tuple(source.class_names[c] for c in row if c != ABSENT) for row in batch.classes)
        class_mask = torch.tensor(batch.classes != ABSENT, device=source.device)
        text = None
        if method.uses_text:
            assert source.text is not None
            classes = torch.tensor(batch.classes, device=source.device).clamp(min=0)  # int64 [E, N]
            text = source.text[classes].masked_fill(~class_mask[..., None], 0)
        labels = torch.tensor(batch.support_labels, device=source.device)
        # Unlabelled rows stand behind the queries while features are transformed, which does not look at queries.
        queries = batch.query.shape[1]
        further = [batch.unlabelled] if method.uses_unlabelled else []
        asked = source.rows(np.concatenate([batch.query, *further], axis=1))
        support, query = source.transforms.of_episodes(source.rows(batch.support), labels, asked)
        return Episodes(
            support=support,
            support_labels=labels,
            query=query[:, :queries],
            unlabelled=query[:, queries:] if query.shape[1] > queries else None,
            ways=batch.classes.shape[1],
            class_mask=class_mask,
            seeds=torch.from_numpy(batch.seeds).to(source.device),
            query_mask=torch.tensor(batch.query_labels != ABSENT, device=source.device),
            class_names=names,
            text=text,
            text_tower=source.text_tower if method.uses_text_tower else None,
            train_mean=source.train_mean if method.uses_train_mean else None,
            train_classes=source.train_classes if method.uses_train_classes else None,
            backbone=source.backbone,
            tune=source.tune,
            learned=source.learned,
        )

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
