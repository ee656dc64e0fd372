"""Convolutions whose initial weights come from a generator that is passed, never from the global one."""

from __future__ import annotations

from torch import Generator, nn


class _Convolution(nn.Conv2d):
    """A convolution whose weights are left to its maker."""

    def reset_parameters(self) -> None:
        """Do nothing: torch's initialisation would draw from the global generator."""


def convolution(inputs: int, outputs: int, kernel: int, generator: Generator, stride: int = 1, slope: float = 0.0) -> nn.Conv2d:
    """A convolution without bias that keeps the size of the map, but for its stride.

    Initial weights are normal with mean 0 and variance gain² / (outputs · kernel²), "He initialisation" in its fan-out form
    (He et al. 2015, arXiv:1502.01852).

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd width of the kernel.
        generator: draws the initial weights.
        stride: of the convolution.
        slope: of the leaky rectifier that follows, for the gain √(2 / (1 + slope²)); 0 for ReLU.
    """
    layer = _Convolution(inputs, outputs, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu", generator=generator)
    return layer
