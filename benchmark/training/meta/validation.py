"""Validation: how well an encoder separates the val classes, by a fixed set of episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ....core.errors import UsageError
from ....methods.base import Method
from ....tasks.datasets.split import Images, Split
from ....tasks.episodes import EpisodeBatch
from ....tasks.samplers import UniformSampler
from ...backbones.base import Preprocess
from ...backbones.clip.dual_encoder import DualEncoder
from ...evaluation.evaluate import Evaluator
from ...evaluation.source import Source
from ...features.table import FeatureTable

BATCH = {"cpu": 32, "cuda": 512}  # images at a time; on a CPU small batches are faster (backbones/encoding.py)
SEED = 0


@dataclass(frozen=True)
class Validation:
    """A fixed set of episodes of the val classes, and the method that answers them.

    Attributes:
        method: the classifier.
        split: of the val classes.
        batch: the episodes.
        shape: ways, shots and queries of an episode, and how many episodes there are.
        texts: one a class, for a method that uses text.
    """

    method: Method
    split: Split
    batch: EpisodeBatch
    shape: dict[str, int]
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, method: Method, split: Split, ways: int, shots: int, queries: int, episodes: int) -> Validation:
        """The first `episodes` episodes of seed 0.

        Raises:
            UsageError: the split is too small for them.
        """
        check_classes(len(split.class_ids), ways)
        smallest = int(np.diff(split.offsets).min())
        if smallest < shots + queries:
            raise UsageError(f"the val classes need {shots + queries} images each; the smallest has {smallest}")
        sampler = UniformSampler(split.offsets, seed=SEED, ways=ways, shots=shots, queries=queries)
        shape = {"ways": ways, "shots": shots, "queries": queries, "episodes": episodes}
        return cls(method, split, sampler.draw(0, episodes), shape)

    def accuracy(
        self, module: nn.Module, preprocess: Preprocess, device: torch.device, learned: nn.Module | None = None
    ) -> float:
        """Mean accuracy over the episodes, a fraction.

        Args:
            module: float [B, C, H, W] to features [B, D], on the device; put in evaluation mode and back. With a text tower
                where the method uses text.
            preprocess: makes the images ready for it.
            device: where it runs.
            learned: what the method learned beside it; put in evaluation mode and back.
        """
        parts = [module] if learned is None else [module, learned]
        before = [part.training for part in parts]
        for part in parts:
            part.eval()
        try:
            if self.method.inputs_with("none") == "images":
                source = Source(device, images=self.split.images, preprocess=preprocess, backbone=module, learned=learned)
            else:
                features = _features(module, preprocess, self.split.images, device)
                text = _text_features(module, self.texts, device) if self.method.uses_text else None
                source = Source(device, table=FeatureTable.of(features, device), learned=learned, text=text)
            return float(Evaluator(self.method, source, "in validation").accuracies(self.batch).mean())
        finally:
            for part, training in zip(parts, before, strict=True):
                part.train(training)


def check_classes(classes: int, ways: int) -> None:
    """Check that there are as many val classes as an episode has.

    Raises:
        UsageError: one line for any command; some have no option for it.
    """
    if classes < ways:
        raise UsageError(f"validation episodes need {ways} val classes; there are {classes}")


def _features(module: nn.Module, preprocess: Preprocess, images: Images, device: torch.device) -> np.ndarray:
    """Features [n, D] of images, uint8 [n, H, W, C]."""
    size, features = BATCH[device.type], []
    with torch.inference_mode():
        for start in range(0, len(images), size):
            batch = torch.from_numpy(np.array(images[start : start + size])).to(device)
            features.append(module(preprocess(batch)).float().cpu().numpy())
    return np.concatenate(features)


def _text_features(module: nn.Module, texts: tuple[str, ...], device: torch.device) -> Tensor:
    """Features float [C, D] of texts, each of length 1."""
    assert isinstance(module, DualEncoder)
    with torch.inference_mode():
        tower = module.text
        return normalize(tower(tower.tokenize(texts).to(device)).float(), dim=1)
