"""What a backbone is: a recipe for a network, and how an image is made ready for it.

Letters in shape comments: B images, C channels, H and W pixels, D feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights that PIL uses for grey


@dataclass(frozen=True)
class Preprocess:
    """From stored uint8 images to what the network was trained on. Runs on the device, a batch at a time.

    Attributes:
        channels: 1 or 3. Colour images become grey by luma, grey ones become colour by repeating.
        size: height and width in pixels; other sizes are resized (bilinear, antialiased, aspect ratio not kept).
        mean: subtracted, one a channel, on the scale 0 … 1.
        std: divided by, one a channel.
    """

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Preprocess:
        """Read back what `dataclasses.asdict` and JSON made of it."""
        return cls(int(content["channels"]), int(content["size"]), tuple(content["mean"]), tuple(content["std"]))

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 [B, H, W, C] to float32 [B, channels, size, size]."""
        x = images.permute(0, 3, 1, 2).float() / 255
        if x.shape[1] == 3 and self.channels == 1:
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        elif x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        if x.shape[2:] != (self.size, self.size):
            x = functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return (x - x.new_tensor(self.mean)[:, None, None]) / x.new_tensor(self.std)[:, None, None]


@dataclass(frozen=True)
class Backbone(ABC):
    """An image encoder. Subclasses are frozen dataclasses whose fields are the backbone's parameters."""

    citation: ClassVar[str] = ""

    @abstractmethod
    def build(self, channels: int, size: int, generator: torch.Generator) -> nn.Module:
        """Make the network with initial weights drawn from `generator`.

        Returns:
            A module from float [B, channels, size, size] to features [B, D].
        """


def feature_width(module: nn.Module, preprocess: Preprocess) -> int:
    """D, found by encoding one blank image."""
    device = next(module.parameters()).device
    with torch.no_grad():
        return int(module(torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size, device=device)).shape[1])
