"""Layers of the networks written here, whose random numbers come from a generator that is passed, never from the global one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ...methods.parts.random_numbers import drawn

Norm = Literal["batch", "group", "layer", "instance"]
Activation = Literal["relu", "smelu", "gelu", "swish"]
NORM_HELP = "normalisation: batch, group (32 groups of channels), layer (one group), instance (a group a channel)"
PROJECTION_HELP = "width of a layer behind the features (linear, batch norm, ReLU), which then is the feature; none: no layer"
ACTIVATION_HELP = "activation: relu, smelu (Shamir et al. 2022), gelu or swish"
GROUPS = 32  # of group norm (Wu and He 2018)
RAMP_STEPS = 40_000  # over which drop-block reaches its rate, as in the code of MetaOptNet and FEAT


class _Convolution(nn.Conv2d):
    """A convolution whose weights are left to its maker."""

    def reset_parameters(self) -> None:
        """Do nothing: torch's initialisation would draw from the global generator."""


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    generator: Generator,
    stride: int = 1,
    slope: float = 0.0,
    bias: bool = False,
    padding: int | None = None,
) -> nn.Conv2d:
    """A convolution; by default it keeps the size of the map, but for its stride.

    Initial weights are normal with mean 0 and variance gain² / (outputs · kernel²), "He initialisation" in its fan-out form
    (He et al. 2015, arXiv:1502.01852).

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd width of the kernel.
        generator: draws the initial weights.
        stride: of the convolution.
        slope: of the leaky rectifier that follows, for the gain √(2 / (1 + slope²)); 0 for ReLU.
        bias: whether it has one, which begins at 0.
        padding: pixels around the map; None: half the kernel.
    """
    padding = kernel // 2 if padding is None else padding
    layer = _Convolution(inputs, outputs, kernel_size=kernel, stride=stride, padding=padding, bias=bias)
    nn.init.kaiming_normal_(layer.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu", generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """A normalisation layer with scale and shift for maps of `channels` channels.

    Args:
        norm: "batch" (Ioffe and Szegedy 2015, arXiv:1502.03167); "group" with 32 groups, or the most below 32 that divide the
            channels (Wu and He 2018, arXiv:1803.08494); "layer", all channels and positions at once (Ba et al. 2016,
            arXiv:1607.06450); "instance", each channel by itself (Ulyanov et al. 2016, arXiv:1607.08022).
        channels: C, at least 1.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    groups = max(count for count in range(1, GROUPS + 1) if channels % count == 0) if norm == "group" else 1
    return nn.GroupNorm(groups, channels)


def further_layer(features: int, width: int, generator: Generator) -> nn.Module:
    """A layer behind the features, [B, features] to [B, width]: linear, batch norm, ReLU; recipe simclr-v2 pretrains it."""
    return drawn(lambda: nn.Sequential(nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()), generator)


class SmeLU(nn.Module):
    """The smooth ReLU: 0 up to −1, x from 1 on, and between them the parabola (x + 1)² / 4 that joins both without a kink.

    Shamir, Lin and Coviello 2020, arXiv:2010.09931; Shamir et al. 2022, "Real world large scale recommendation systems
    reproducibility and smooth activations", arXiv:2202.06499, with β = 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return (x + 1).clamp(0, 2).square() / 4 + functional.relu(x - 1)


ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "smelu": SmeLU, "gelu": nn.GELU, "swish": nn.SiLU}


class DropBlock(nn.Module):
    """Sets squares of each channel's map to 0 in training, and scales the rest up for it.

    Ghiasi et al. 2018, "DropBlock: a regularization method for convolutional networks", arXiv:1810.12890.
    It drops nothing in evaluation mode, nor before `begin_step` has given it a generator.
    """

    def __init__(self, rate: float, size: int) -> None:
        """Remember the share and the shape of what is dropped.

        Args:
            rate: about the share of the map that is dropped once the ramp is over, 0 to 1.
            size: height and width of a square; on a smaller map it is the map's.
        """
        super().__init__()
        self.rate, self.size = rate, size
        self.current = 0.0  # the rate at this step
        self.generator: Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        if not self.training or self.generator is None or self.current == 0:
            return x
        height, width = x.shape[2:]
        side = min(self.size, height, width)
        corners = (height - side + 1, width - side + 1)  # places of a square that lies inside the map
        chance = self.current / side**2 * (height * width) / (corners[0] * corners[1])
        drawn = torch.rand((*x.shape[:2], *corners), generator=self.generator, device=self.generator.device)
        squares = functional.pad((drawn < chance).to(x), (side - 1,) * 4)
        kept = 1 - functional.max_pool2d(squares, side, stride=1)  # [B, C, H, W]
        return x * kept * (kept.numel() / kept.sum(dtype=torch.float32).clamp(min=1))


def begin_step(network: nn.Module, step: int, generator: Generator) -> None:
    """Give the drop-blocks of a network their rate and their random numbers for one training step.

    The rate grows linearly from 0 over the first 40,000 steps.

    Args:
        network: any; one without drop-block is left as it is.
        step: of the training, from 0.
        generator: of this step, so that a training that was stopped goes on as if it had not been.
    """
    for layer in network.modules():
        if isinstance(layer, DropBlock):
            layer.current = layer.rate * min(1.0, step / RAMP_STEPS)
            layer.generator = generator
