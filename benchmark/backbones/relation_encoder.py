"""The encoder of relation networks: four 3×3 convolutions, the first two without padding and followed by max-pooling.

Sung et al. 2018, "Learning to compare: relation network for few-shot learning", arXiv:1711.06025.

The feature is the whole last map, flattened: [64, 5, 5] for 28 pixels, [64, 19, 19] for 84. Layers are named as in the authors'
code, layer1 to layer4, each with a convolution (0) and a batch norm (1): layer1.0.weight, layer1.0.bias, layer1.1.weight,
layer1.1.bias, layer1.1.running_mean, layer1.1.running_var, and so on. Their weights fit as they are.

Differs from the authors' code: the running statistics of batch norm are averaged with torch's momentum, 0.1; theirs, with
momentum 1, are those of the last batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, nn

from ...core.errors import UsageError
from ...core.options import parameter
from .base import Backbone
from .layers import ACTIVATION_HELP, ACTIVATIONS, Activation, convolution

CHANNELS = 64
SMALLEST = 10  # pixels: two convolutions without padding and two poolings leave 1 × 1


@dataclass(frozen=True)
class RelationEncoder(Backbone):
    """Encoder of relation networks: four 3×3 convolutions with 64 filters; the flattened map is the feature."""

    activation: Activation = parameter("relu", ACTIVATION_HELP)

    citation: ClassVar[str] = "Sung et al. 2018, Learning to compare: relation network for few-shot learning, arXiv:1711.06025"
    later_parameters: ClassVar[tuple[str, ...]] = ("activation",)

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the network; images need at least 10 pixels a side."""
        if size < SMALLEST:
            raise UsageError(f"backbone relation-encoder: images of {size} pixels are too small, it needs {SMALLEST}")
        network = nn.Sequential()
        network.add_module("layer1", self._layer(channels, 0, generator).append(nn.MaxPool2d(2)))
        network.add_module("layer2", self._layer(CHANNELS, 0, generator).append(nn.MaxPool2d(2)))
        network.add_module("layer3", self._layer(CHANNELS, 1, generator))
        network.add_module("layer4", self._layer(CHANNELS, 1, generator))
        network.add_module("flatten", nn.Flatten())
        return network

    def _layer(self, inputs: int, padding: int, generator: Generator) -> nn.Sequential:
        """Convolution, batch norm and activation; initial weights have variance 2 / (9 · 64), as in the authors' code."""
        first = convolution(inputs, CHANNELS, 3, generator, bias=True, padding=padding)
        return nn.Sequential(first, nn.BatchNorm2d(CHANNELS), ACTIVATIONS[self.activation]())
