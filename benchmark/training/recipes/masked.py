"""Masked image modelling: most of an image is hidden, and a vision transformer predicts its pixels from the rest.

Xie et al. 2022, "SimMIM: a simple framework for masked image modeling", arXiv:2111.09886. Squares of several patches are chosen
at random; a learned vector takes the place of what the network makes of a hidden patch. From the last vector of each patch a
linear layer predicts its pixels; the loss is the mean absolute error over the hidden pixels.
Differs from the paper: the network is small and so are its images; these are shifted and not cropped; a transformer that pools
the patches normalises them one by one here and their mean afterwards.

Letters in shape comments: B images, P patches of an image, V values of a patch, W width of a token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn
from torch.nn import functional

from ....core.errors import UsageError
from ....core.options import parameter
from ....core.ranges import LARGEST_SIZE
from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, Recipe
from .projection import full_precision, linear

DEVIATION = 0.02  # of the initial values of the vector for hidden patches, as of timm's tokens


@dataclass(frozen=True)
class Masked(Recipe):
    """Predict the pixels of hidden patches; vision transformers alone."""

    share: float = parameter(0.6, "of the image that is hidden", above=0, maximum=1)
    square: int = parameter(2, "patches of the side of a square that is hidden as a whole", minimum=1, maximum=LARGEST_SIZE)

    citation: ClassVar[str] = "Xie et al. 2022, SimMIM: a simple framework for masked image modeling, arXiv:2111.09886"
    learning_rate: ClassVar[float] = 1e-3
    shifts: ClassVar[bool] = True

    def learner(self, material: Material) -> Learner:
        """Transformer and a layer that predicts pixels."""
        return MaskedLearner(self, material)


class MaskedLearner(ImageLearner):
    """Batches are images [B, C, H, W], and which of their patches are hidden, bool [B, P]."""

    backbone: VisionTransformer

    def __init__(self, recipe: Masked, material: Material) -> None:
        """Put a linear layer behind the transformer.

        Raises:
            UsageError: the backbone is none, or its patches make no whole squares.
        """
        super().__init__(material)
        if not isinstance(material.backbone, VisionTransformer):
            raise UsageError("recipe masked hides patches of a vision transformer; take --backbone vit or timm:vit_…")
        if next(material.backbone.head.parameters(), None) is not None:
            raise UsageError("recipe masked trains no layer behind the features; leave backbone.projection out")
        embed = material.backbone.patch_embed
        self.patch, self.grid = embed.patch_size[0], embed.grid_size[0]
        if self.grid % recipe.square:
            raise UsageError(f"recipe.square={recipe.square}: it does not divide the {self.grid} patches of an image's side")
        self.recipe, width = recipe, material.backbone.embed_dim
        self.hidden = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.hidden, std=DEVIATION, generator=material.generator)
        self.head = linear(width, self.patch**2 * material.preprocess.channels, material.generator)

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Shifted images, and which of their patches are hidden."""
        images, _, generator = self.shifted(step, part)
        return images, hidden_patches(len(images), self.grid, self.recipe.square, self.recipe.share, generator)

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean absolute error over the hidden pixels, in deviations of the images."""
        images, hidden = batch

        def hide(module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor:
            return torch.where(hidden[..., None], self.hidden.to(tokens.dtype), tokens)  # [B, P, W]

        hook = self.backbone.patch_embed.register_forward_hook(hide)
        try:
            tokens = self.backbone.fc_norm(self.backbone.forward_features(images))
        finally:
            hook.remove()
        predicted = self.head(tokens[:, self.backbone.num_prefix_tokens :])  # [B, P, V]
        with full_precision(predicted):
            return error_of_hidden(predicted.float(), patches_of(images, self.patch), hidden), {}


def hidden_patches(count: int, grid: int, square: int, share: float, generator: Generator) -> Tensor:
    """Choose squares of patches at random, as many in each image: bool [count, grid²], row by row of the image.

    Args:
        count: of images.
        grid: patches of an image's side.
        square: patches of a square's side, which divides `grid`.
        share: of the squares, rounded up.
        generator: on the device where they are wanted.
    """
    side = grid // square
    order = torch.rand(count, side**2, generator=generator, device=generator.device).argsort(dim=1).argsort(dim=1)
    chosen = (order < math.ceil(share * side**2)).view(count, side, side)
    return chosen.repeat_interleave(square, dim=1).repeat_interleave(square, dim=2).flatten(1)


def patches_of(images: Tensor, patch: int) -> Tensor:
    """Images [B, C, H, W] as patches [B, P, V], row by row of the image, channel by channel of a patch."""
    return functional.unfold(images, patch, stride=patch).transpose(1, 2)


def error_of_hidden(predicted: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """The mean absolute error of [B, P, V] over the patches that are hidden, bool [B, P]."""
    return (predicted - patches).abs()[hidden].mean()
