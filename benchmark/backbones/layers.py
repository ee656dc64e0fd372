"""Convolutions whose initial weights come from a generator that is passed, never from the global one."""

from __future__ import annotations

from torch import Generator, nn
from torch.nn.utils import skip_init


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
    # skip_init: torch's own initialisation would draw from the global generator.
    layer = skip_init(nn.Conv2d, inputs, outputs, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False)
    assert isinstance(layer, nn.Conv2d)
    nn.init.kaiming_normal_(layer.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu", generator=generator)
    return layer
