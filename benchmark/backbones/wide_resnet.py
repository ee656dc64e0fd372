"""WRN-28-10: a residual network of 28 layers, ten times as wide as a ResNet for small images.

Zagoruyko and Komodakis 2016, "Wide residual networks", arXiv:1605.07146. A 3×3 convolution with 16 filters, then three groups
of four blocks with 160, 320 and 640 filters, the second and third halving the map; batch norm and ReLU come before each
convolution. The mean over the last map is the feature. Layers are named as in the PyTorch code that few-shot papers trained
(Mangla et al. 2020, S2M2, arXiv:1907.12087). No dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from ...core.errors import UsageError
from ...core.options import parameter
from .base import Backbone
from .layers import ACTIVATION_HELP, ACTIVATIONS, NORM_HELP, Activation, convolution, normalisation

STEM = 16
WIDTHS = (160, 320, 640)
BLOCKS = 4  # a group: 28 layers are 4 + 6 · 4
SMALLEST = 4  # pixels; the map is a quarter as wide as the image
SMALLEST_INSTANCE = 5  # instance norm needs a last map of more than one pixel


@dataclass(frozen=True)
class WideResNet(Backbone):
    """WRN-28-10, the wide residual network: 36.5 million parameters, 640 features."""

    norm: Literal["batch", "group", "layer", "instance"] = parameter("batch", NORM_HELP)
    activation: Activation = parameter("relu", ACTIVATION_HELP)

    citation: ClassVar[str] = "Zagoruyko and Komodakis 2016, Wide residual networks, arXiv:1605.07146"
    later_parameters: ClassVar[tuple[str, ...]] = ("norm", "activation")

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the network; images need at least 4 pixels a side, 5 with instance norm."""
        smallest = SMALLEST_INSTANCE if self.norm == "instance" else SMALLEST
        if size < smallest:
            raise UsageError(f"backbone wrn-28-10: images of {size} pixels are too small, it needs {smallest}")
        network = nn.Sequential()
        network.add_module("conv1", convolution(channels, STEM, 3, generator))
        inputs = STEM
        for number, width in enumerate(WIDTHS, start=1):
            network.add_module(f"block{number}", _Group(inputs, width, 1 if number == 1 else 2, self, generator))
            inputs = width
        network.add_module("bn1", normalisation(self.norm, inputs))
        network.add_module("relu", ACTIVATIONS[self.activation]())
        network.add_module("pool", nn.AdaptiveAvgPool2d(1))
        network.add_module("flatten", nn.Flatten())
        return network

    def last_block(self, module: nn.Module) -> set[str]:
        """The third group of blocks, and the norm after it."""
        return {name for name, _ in module.named_parameters() if name.startswith((f"block{len(WIDTHS)}.", "bn1."))}


class _Group(nn.Module):
    """Four blocks; the first one changes the width and the size of the map."""

    def __init__(self, inputs: int, outputs: int, stride: int, recipe: WideResNet, generator: Generator) -> None:
        super().__init__()
        rest = [_Block(outputs, outputs, 1, recipe, generator) for _ in range(BLOCKS - 1)]
        self.layer = nn.Sequential(_Block(inputs, outputs, stride, recipe, generator), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        return self.layer(x)


class _Block(nn.Module):
    """Batch norm, ReLU and convolution, twice, added to the input; where the width changes, to its 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, recipe: WideResNet, generator: Generator) -> None:
        super().__init__()
        norm, self.relu = recipe.norm, ACTIVATIONS[recipe.activation]()
        self.bn1, self.conv1 = normalisation(norm, inputs), convolution(inputs, outputs, 3, generator, stride)
        self.bn2, self.conv2 = normalisation(norm, outputs), convolution(outputs, outputs, 3, generator)
        self.convShortcut = None if inputs == outputs else convolution(inputs, outputs, 1, generator, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        ready = self.relu(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(self.conv1(ready))))
        return out + (x if self.convShortcut is None else self.convShortcut(ready))
