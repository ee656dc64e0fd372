"""ResNet-12: four residual blocks of three 3×3 convolutions with 64, 160, 320 and 640 filters.

Lee et al. 2019, "Meta-learning with differentiable convex optimization" (MetaOptNet), arXiv:1904.03758; the same network in
Ye et al. 2020 (FEAT), arXiv:1812.03664, whose names the layers have. Each block ends in 2×2 max-pooling; the mean over the last
map is the feature. As in their code, drop-block (Ghiasi et al. 2018, arXiv:1810.12890) ends the third and fourth block in
training, with squares of 5 pixels and a rate that grows over 40,000 steps; features are made without it. Differs from their
code: no dropout after the first and second block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from ...core.errors import UsageError
from ...core.options import parameter
from ...core.ranges import LARGEST_SIZE
from .base import Backbone
from .layers import (
    ACTIVATION_HELP,
    ACTIVATIONS,
    NORM_HELP,
    PROJECTION_HELP,
    Activation,
    DropBlock,
    Norm,
    convolution,
    further_layer,
    normalisation,
)

GROWTH = (1, 2.5, 5, 10)  # width of each block, as a multiple of the first one's
SLOPE = 0.1  # of the leaky rectifiers
DROPPING = (3, 4)  # blocks that end in drop-block
SQUARE = 5  # pixels of a dropped square's side


@dataclass(frozen=True)
class ResNet12(Backbone):
    """ResNet-12 of MetaOptNet and FEAT: 12.4 million parameters, 640 features."""

    width: int = parameter(
        64,
        "channels of the first block; the others have 2.5, 5 and 10 times as many, features too",
        minimum=2,
        maximum=LARGEST_SIZE,
    )
    norm: Literal["batch", "group", "layer", "instance"] = parameter("batch", NORM_HELP)
    drop_rate: float = parameter(0.1, "of drop-block in the last two blocks, in training alone; 0 is none", minimum=0, below=1)
    projection: int | None = parameter(None, PROJECTION_HELP, minimum=1, maximum=LARGEST_SIZE)
    activation: Activation = parameter("relu", f"{ACTIVATION_HELP}; relu is its own, leaky by {SLOPE}")

    citation: ClassVar[str] = (
        "Lee et al. 2019, Meta-learning with differentiable convex optimization, arXiv:1904.03758; "
        "Ye et al. 2020, Few-shot learning via embedding adaptation with set-to-set functions, arXiv:1812.03664"
    )
    later_parameters: ClassVar[tuple[str, ...]] = ("norm", "drop_rate", "width", "projection", "activation")

    def __post_init__(self) -> None:
        """Check that the width is even."""
        super().__post_init__()
        if self.width % 2:
            raise UsageError(f"backbone resnet12: width={self.width}: an even number, at least 2")

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the network; images need at least 16 pixels a side, since every block halves them."""
        if size < 2 ** len(GROWTH):
            raise UsageError(f"backbone resnet12: images of {size} pixels are too small, it needs {2 ** len(GROWTH)}")
        network, inputs = nn.Sequential(), channels
        for number, growth in enumerate(GROWTH, start=1):
            width = int(self.width * growth)
            rate = self.drop_rate if number in DROPPING else 0.0
            network.add_module(f"layer{number}", nn.Sequential(_Block(inputs, width, self, rate, generator)))
            inputs = width
        network.add_module("pool", nn.AdaptiveAvgPool2d(1))
        network.add_module("flatten", nn.Flatten())
        if self.projection is not None:
            network.add_module("projection", further_layer(inputs, self.projection, generator))
        return network


class _Block(nn.Module):
    """Three convolutions beside a 1×1 convolution, added, rectified and pooled."""

    def __init__(self, inputs: int, outputs: int, recipe: ResNet12, drop_rate: float, generator: Generator) -> None:
        super().__init__()
        norm: Norm = recipe.norm
        self.conv1, self.bn1 = convolution(inputs, outputs, 3, generator, slope=SLOPE), normalisation(norm, outputs)
        self.conv2, self.bn2 = convolution(outputs, outputs, 3, generator, slope=SLOPE), normalisation(norm, outputs)
        self.conv3, self.bn3 = convolution(outputs, outputs, 3, generator, slope=SLOPE), normalisation(norm, outputs)
        self.downsample = nn.Sequential(convolution(inputs, outputs, 1, generator, slope=SLOPE), normalisation(norm, outputs))
        self.relu = nn.LeakyReLU(SLOPE) if recipe.activation == "relu" else ACTIVATIONS[recipe.activation]()
        self.maxpool = nn.MaxPool2d(2)
        self.drop = DropBlock(drop_rate, SQUARE) if drop_rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H // 2, W // 2]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.drop(self.maxpool(self.relu(out + self.downsample(x))))
