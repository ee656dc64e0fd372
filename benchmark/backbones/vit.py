"""A small vision transformer for small images: timm's own `VisionTransformer` in a size that one CPU core can train.

Dosovitskiy et al. 2021, "An image is worth 16x16 words: transformers for image recognition at scale", arXiv:2010.11929.
Images of 32 pixels are 64 patches of 4×4. Everything but width, depth and heads is timm's default: pre-norm blocks, a
perceptron four times as wide, learned positions, no dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, nn

from ...core.errors import UsageError
from ...core.options import parameter
from ...core.ranges import LARGEST_SIZE
from ...methods.parts.random_numbers import drawn
from .base import Backbone, TokenBlocks
from .layers import ACTIVATION_HELP, ACTIVATIONS, PROJECTION_HELP, Activation, further_layer
from .timm_blocks import last_block, token_blocks


@dataclass(frozen=True)
class ViT(Backbone):
    """A small vision transformer (timm's class); the feature is the mean of the patches' last vectors, normalised."""

    patch: int = parameter(4, "pixels of a patch's side", minimum=1, maximum=LARGEST_SIZE)
    width: int = parameter(128, "of a token and of the feature", minimum=1, maximum=LARGEST_SIZE)
    depth: int = parameter(6, "blocks", minimum=1, maximum=LARGEST_SIZE)
    heads: int = parameter(4, "attention heads of a block; they share the width", minimum=1, maximum=LARGEST_SIZE)
    projection: int | None = parameter(None, PROJECTION_HELP, minimum=1, maximum=LARGEST_SIZE)
    activation: Activation = parameter("gelu", ACTIVATION_HELP)

    citation: ClassVar[str] = "Dosovitskiy et al. 2021, An image is worth 16x16 words, arXiv:2010.11929"
    later_parameters: ClassVar[tuple[str, ...]] = ("projection", "activation")

    def __post_init__(self) -> None:
        """Check that the heads share the width."""
        super().__post_init__()
        if self.width % self.heads:
            raise UsageError(f"backbone vit: width={self.width} is not divided by heads={self.heads}")

    def code_version(self) -> str:
        """The release of timm."""
        return f"timm {timm.__version__}"

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the network; the side of an image is a multiple of the patch's."""
        if size % self.patch:
            raise UsageError(f"backbone vit: images of {size} pixels are no multiple of patch={self.patch}")
        network = drawn(lambda: self._network(channels, size), generator)
        if self.projection is not None:
            # where timm has its classifier
            network.head = further_layer(self.width, self.projection, generator)  # type: ignore[assignment]
        return network

    def _network(self, channels: int, size: int) -> VisionTransformer:
        return VisionTransformer(
            img_size=size,
            patch_size=self.patch,
            in_chans=channels,
            num_classes=0,
            # The mean of the patches and not a class token, as Beyer, Zhai and Kolesnikov 2022, "Better plain ViT baselines for
            # ImageNet-1k", arXiv:2205.01580, have it for training from nothing on few images.
            global_pool="avg",
            class_token=False,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            act_layer=ACTIVATIONS[self.activation],
        )

    def last_block(self, module: nn.Module) -> set[str]:
        """The last attention block and the final norm."""
        return last_block(module)

    def token_blocks(self, module: nn.Module) -> TokenBlocks | None:
        """All blocks."""
        return token_blocks(module)
