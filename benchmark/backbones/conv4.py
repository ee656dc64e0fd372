"""Conv-4: four blocks of 3×3 convolution, batch norm, ReLU and 2×2 max-pooling.

Vinyals et al. 2016, "Matching networks for one shot learning", arXiv:1606.04080; Snell et al. 2017, arXiv:1703.05175.

MAML's network for Omniglot (Finn et al. 2017, arXiv:1703.03400, section 5.2) has convolutions of stride 2 in the place of the
pooling, and its feature is the mean over the last map: `halving=stride`. It computes about a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

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
    convolution,
    further_layer,
    normalisation,
)

BLOCKS = 4


@dataclass(frozen=True)
class Conv4(Backbone):
    """Conv-4 of the few-shot papers: four 3×3 convolution blocks; the flattened last map is the feature."""

    width: int = parameter(64, "filters of each block", minimum=1, maximum=LARGEST_SIZE)
    norm: Literal["batch", "group", "layer", "instance"] = parameter("batch", NORM_HELP)

    halving: Literal["pool", "stride"] = parameter(
        "pool", "what halves the maps: max-pooling; or stride, and the last map's mean is the feature (MAML's on Omniglot)"
    )
    projection: int | None = parameter(None, PROJECTION_HELP, minimum=1, maximum=LARGEST_SIZE)
    activation: Activation = parameter("relu", ACTIVATION_HELP)

    citation: ClassVar[str] = "Vinyals et al. 2016, Matching networks for one shot learning, arXiv:1606.04080"
    later_parameters: ClassVar[tuple[str, ...]] = ("norm", "halving", "projection", "activation")

    def build(self, channels: int, size: int, generator: torch.Generator) -> nn.Module:
        """Make the network; images need at least 16 pixels a side, since every block halves them."""
        if size < 2**BLOCKS:
            raise UsageError(f"backbone conv4: images of {size} pixels are too small, it needs {2**BLOCKS}")
        strided = self.halving == "stride"
        blocks = [self._block(channels if i == 0 else self.width, strided, generator) for i in range(BLOCKS)]
        network = nn.Sequential(*blocks, *([nn.AdaptiveAvgPool2d(1)] if strided else []), nn.Flatten())
        if self.projection is not None:
            features = self.width * (1 if strided else (size // 2**BLOCKS) ** 2)
            network.add_module("projection", further_layer(features, self.projection, generator))
        return network

    def _block(self, inputs: int, strided: bool, generator: torch.Generator) -> nn.Module:
        first = convolution(inputs, self.width, 3, generator, stride=2 if strided else 1, bias=True)
        layers = [first, normalisation(self.norm, self.width), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers if strided else [*layers, nn.MaxPool2d(2)])
