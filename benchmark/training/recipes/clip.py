"""CLIP: which of the captions in the batch belongs to an image, and which image to a caption?

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv:2103.00020. An image tower
and a text tower are trained together from scratch; the weights file holds both. Captions are class names in prompts, or come
from a file. Under several processes the images and captions of all of them are compared.
Differs from the paper: images of which the same is said, in whatever words, count as each other's; images are shifted instead
of cropped; batches are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from ....core.options import parameter
from ....core.progress import Progress
from ....tasks.datasets.base import Dataset
from ....tasks.datasets.split import Split
from ...backbones.clip.dual_encoder import DualEncoder
from ...text.captions import Captions, captions_of_file, captions_of_names, class_names
from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, Recipe
from .projection import full_precision, gathered

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Clip(Recipe):
    """Match images with their captions; trains image and text tower together."""

    drop: float = parameter(
        0.0,
        "share of the captions with only some words of the class name, for names that list attributes",
        minimum=0,
        maximum=1,
    )
    captions: str | None = parameter(None, "CSV with the columns class_id (or source, for single images) and caption")

    citation: ClassVar[str] = (
        "Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020"
    )
    shifts: ClassVar[bool] = True
    reads_text: ClassVar[bool] = True

    def captions_of(self, dataset: Dataset, split: Split, progress: Progress) -> Captions:
        """The captions of the file, or class names in prompts."""
        if self.captions is not None:
            return captions_of_file(Path(self.captions), dataset, split, progress)
        return captions_of_names(split, class_names(split, progress), self.drop, dataset.name)

    def learner(self, material: Material) -> Learner:
        """Both towers and the temperature."""
        return ClipLearner(material)


class ClipLearner(ImageLearner):
    """Batches are images [B, C, H, W], tokens of their captions [B, L], and numbers [B], equal where the same is said."""

    backbone: DualEncoder

    def __init__(self, material: Material) -> None:
        """Take both towers and the captions of the material."""
        super().__init__(material)
        assert material.captions is not None
        self.captions = material.captions
        self.tokens: dict[tuple[int, int], Tensor] = {}  # of the captions that were drawn so far

    def batch(self, step: int, part: Part) -> Batch:
        """Shifted images, each with a caption."""
        images, _, generator = self.shifted(step, part)
        rows = self.images.rows(step)[part.rank :: part.world]
        phrases, templates = self.captions.draw(rows, generator)
        drawn = list(zip(phrases.tolist(), templates.tolist(), strict=True))
        new = [pair for pair in dict.fromkeys(drawn) if pair not in self.tokens]
        if new:
            tokens = self.backbone.text.tokenize([self.captions.text(*pair) for pair in new])
            self.tokens.update(zip(new, tokens, strict=True))
        return images, torch.stack([self.tokens[pair] for pair in drawn]).to(images.device), phrases.to(images.device)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The symmetric cross-entropy, how often the nearest caption is right, and the scale of the cosines."""
        images, tokens, said = batch
        different, place = tokens.unique(dim=0, return_inverse=True)  # a caption that stands there twice is read once
        image, text = self.backbone(images), self.backbone.text(different)[place]
        with full_precision(image):
            image, text = gathered(normalize(image.float(), dim=1)), gathered(normalize(text.float(), dim=1))
            said = gathered(said)
            scale = self.backbone.scale
            scores = scale * image @ text.T  # [B, B]
            same = said[:, None] == said
            accuracy = same.gather(1, scores.argmax(dim=1, keepdim=True)).float().mean()
            return contrast(scores, same), {"accuracy": accuracy, "scale": scale.detach()}

    def kept(self) -> nn.Module:
        """The whole model."""
        return self.backbone.model


def contrast(scores: Tensor, same: Tensor) -> Tensor:
    """The mean of the cross-entropies of captions given the image and of images given the caption.

    Args:
        scores: of images with captions, [B, B].
        same: whether an image and a caption belong together, bool [B, B]; symmetric, with a true diagonal.

    Returns:
        A scalar. What belongs to several has equal shares of them as its target.
    """
    target = same / same.sum(dim=1, keepdim=True)
    image, text = (-(target * log_softmax(each, dim=1)).sum(dim=1).mean() for each in (scores, scores.T))
    return (image + text) / 2
