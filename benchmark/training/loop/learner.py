"""A learner: the networks that are trained, the data of a step, and the loss. The loop (loop.py) knows nothing else.

A step's data and randomness are a function of (seed, step, part) alone, so a training that was killed goes on from a checkpoint
of its tensors with the very steps it would have made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ....core.random_streams import Purpose, words


@dataclass(frozen=True)
class Part:
    """The share of a step's batch that a process works on.

    Attributes:
        rank: number of the process, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1


class Learner(nn.Module, ABC):
    """Everything that a training moves, with the data that moves it.

    Submodules hold all state: parameters that require grad are trained, others and buffers are saved with them.

    Attributes:
        backbone: the encoder that the training is for, a submodule.
    """

    backbone: nn.Module

    @abstractmethod
    def batch(self, step: int, part: Part) -> Any:
        """The data of a step on the learner's device: a function of the step and the part alone.

        Args:
            step: from 0.
            part: the share of the batch; the parts of a step are disjoint and together the whole.
        """

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and figures to plot, such as the accuracy, the same ones at every step.

        All of them are scalars, means over the batch, and every step takes the same parameters through the same operations.
        """

    def kept(self) -> nn.Module:
        """The part that goes into the weights file: the backbone without heads."""
        return self.backbone

    def after_step(self, step: int) -> None:
        """Called when the optimiser has moved; a teacher follows its student here."""


def step_generator(seed: int, step: int, device: torch.device, part: Part = Part()) -> Generator:
    """A generator for one step (and one part of its batch), the same whatever came before."""
    return Generator(device).manual_seed(_step_seed(seed, Purpose.STEP, step, part))


def dropout_seed(seed: int, step: int, part: Part) -> int:
    """The seed of torch's own generators in a step, for layers that draw from them, such as dropout."""
    return _step_seed(seed, Purpose.DROPOUT, step, part)


def _step_seed(seed: int, purpose: Purpose, step: int, part: Part) -> int:
    high, low = (int(word) for word in words(seed, purpose, part.rank, step, step + 1, 2)[0])
    return (high << 31) | (low >> 1)
