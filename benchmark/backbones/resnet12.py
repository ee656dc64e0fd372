"""ResNet-12: four residual blocks of three 3×3 convolutions with 64, 160, 320 and 640 filters.

Lee et al. 2019, "Meta-learning with differentiable convex optimization" (MetaOptNet), arXiv:1904.03758; the same network in
Ye et al. 2020 (FEAT), arXiv:1812.03664, whose names the layers have. Each block ends in 2×2 max-pooling; the mean over the last
map is the feature. Differs from the papers: no drop-block, which regularises their training; features are the same without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor, nn

from ...tasks.errors import UsageError
from .base import Backbone
from .layers import convolution

WIDTHS = (64, 160, 320, 640)
SLOPE = 0.1  # of the leaky rectifiers


@dataclass(frozen=True)
class ResNet12(Backbone):
    """ResNet-12 of MetaOptNet and FEAT: 12.4 million parameters, 640 features."""

    citation: ClassVar[str] = (
        "Lee et al. 2019, Meta-learning with differentiable convex optimization, arXiv:1904.03758; "
        "Ye et al. 2020, Few-shot learning via embedding adaptation with set-to-set functions, arXiv:1812.03664"
    )

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the network; images need at least 16 pixels a side, since every block halves them."""
        if size < 2 ** len(WIDTHS):
            raise UsageError(f"backbone resnet12: images of {size} pixels are too small, it needs {2 ** len(WIDTHS)}")
        network, inputs = nn.Sequential(), channels
        for number, width in enumerate(WIDTHS, start=1):
            network.add_module(f"layer{number}", nn.Sequential(_Block(inputs, width, generator)))
            inputs = width
        network.add_module("pool", nn.AdaptiveAvgPool2d(1))
        network.add_module("flatten", nn.Flatten())
        return network


class _Block(nn.Module):
    """Three convolutions beside a 1×1 convolution, added, rectified and pooled."""

    def __init__(self, inputs: int, outputs: int, generator: Generator) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, outputs, 3, generator, slope=SLOPE), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = convolution(outputs, outputs, 3, generator, slope=SLOPE), nn.BatchNorm2d(outputs)
        self.conv3, self.bn3 = convolution(outputs, outputs, 3, generator, slope=SLOPE), nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(convolution(inputs, outputs, 1, generator, slope=SLOPE), nn.BatchNorm2d(outputs))
        self.relu = nn.LeakyReLU(SLOPE)
        self.maxpool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H // 2, W // 2]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.maxpool(self.relu(out + self.downsample(x)))
