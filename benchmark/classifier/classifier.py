"""A fitted classifier: the features of all photos, the method that compares with them, and how sure its answers are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...methods.base import Method
from ...tasks.datasets.reading.image_files import Square
from ..backbones.weights.loading import LoadedBackbone
from ..evaluation.evaluate import Evaluator
from ..evaluation.source import Source
from ..features.encode import DEFAULT, encode
from ..features.table import FeatureTable
from .calibration import Calibration, probabilities
from .heldout import nearest, task_of

CHUNK = 1024  # queries scored at once


@dataclass(frozen=True)
class Answers:
    """What a classifier says of q images.

    Attributes:
        probabilities: float64 [q, N].
        distances: float64 [q], 1 − cosine to the most similar photo it was fitted on.
        unlike: bool [q], whether that is farther than known photos are.
    """

    probabilities: np.ndarray
    distances: np.ndarray
    unlike: np.ndarray


@dataclass(frozen=True)
class Classifier:
    """A method fitted on photos.

    Attributes:
        method: on features.
        method_name: as the user calls it.
        backbone: makes the features.
        learned: what the method learned beside the backbone; None where it has no such part.
        features: float32 [n, D], of the photos that it was fitted on.
        labels: int64 [n], their classes.
        classes: names of the N classes.
        square: how photos are made square when they are read.
        calibration: from held-out photos.
        device: where it computes.
    """

    method: Method
    method_name: str
    backbone: LoadedBackbone
    learned: nn.Module | None
    features: Tensor
    labels: np.ndarray
    classes: tuple[str, ...]
    square: Square
    calibration: Calibration
    device: torch.device

    def answers(self, images: np.ndarray) -> Answers:
        """Classify images uint8 [q, size, size, 3].

        Raises:
            UserError: they cannot be encoded, or the method fails.
        """
        features = np.concatenate([batch.features for batch in encode(self.backbone, images, self.device, DEFAULT)])
        return self.answers_to(torch.from_numpy(features).to(self.device).float())

    def answers_to(self, features: Tensor) -> Answers:
        """Classify images by their features [q, D]."""
        scores = np.concatenate([self._scores(part) for part in features.split(CHUNK)])
        distances = nearest(self.features, features)
        radius = self.calibration.radius
        unlike = np.zeros(len(distances), dtype=bool) if radius is None else distances > radius
        return Answers(probabilities(scores, self.calibration.temperature), distances, unlike)

    def _scores(self, query: Tensor) -> np.ndarray:
        """Scores float64 [q, N]."""
        photos = len(self.labels)
        rows = np.arange(photos, photos + len(query))
        both = torch.cat([self.features, query]).cpu().numpy()
        source = Source(self.device, table=FeatureTable.of(both, self.device), learned=self.learned)
        task = task_of(np.arange(photos), self.labels, rows, np.zeros(len(query), np.int64), len(self.classes))
        scores, _ = next(Evaluator(self.method, source, self.method_name).score(task))
        return scores[0].double().cpu().numpy()
