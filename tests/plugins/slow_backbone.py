"""A backbone as slow a batch as the environment says; a file gets the number of images of every batch."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.conv4 import Conv4


class _Slow(nn.Module):
    """Notes and sleeps, and changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W] to itself."""
        if "SLOW_FILE" in os.environ and len(x) > 1:  # one image is a question for the width of the features
            with Path(os.environ["SLOW_FILE"]).open("a", encoding="utf-8") as file:
                file.write(f"{len(x)}\n")
            time.sleep(float(os.environ["SLOW_SECONDS"]))
        return x


@dataclass(frozen=True)
class SlowConv4(Conv4):
    """Conv-4 behind a pause. Its tensors have the names of Conv-4's."""

    def build(self, channels: int, size: int, generator: torch.Generator) -> nn.Module:
        """Put the pause before the flattening, where Conv-4 has no tensors."""
        network = super().build(channels, size, generator)
        assert isinstance(network, nn.Sequential)
        return nn.Sequential(*list(network)[:-1], _Slow(), network[-1])
