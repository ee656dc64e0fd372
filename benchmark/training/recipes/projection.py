"""Heads that are thrown away after pretraining, and what several recipes need around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, distributed, nn
from torch.nn.functional import cross_entropy


class _Linear(nn.Linear):
    """A linear layer whose weights are left to its maker."""

    def reset_parameters(self) -> None:
        """Do nothing: torch's initialisation would draw from the global generator."""


def linear(inputs: int, outputs: int, generator: Generator, bias: bool = True) -> nn.Linear:
    """A linear layer with weights and bias uniform within ± 1 / √inputs, as torch draws them, but from `generator`."""
    layer = _Linear(inputs, outputs, bias=bias)
    for values in layer.parameters():
        nn.init.uniform_(values, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
    return layer


def classifier(inputs: int, classes: int) -> nn.Module:
    """A linear classifier behind a batch norm without parameters (the "BNNeck" of Luo et al. 2019, arXiv:1903.07071).

    Without the batch norm the common mean of the rectified features hides their differences: on trifeature the loss after
    200 steps was then 4.8 instead of 4.4.
    """
    layer = _Linear(inputs, classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.BatchNorm1d(inputs, affine=False), layer)


def classified(scores: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy and accuracy of scores [B, N] for labels [B]."""
    return cross_entropy(scores, labels), {"accuracy": (scores.argmax(dim=1) == labels).float().mean()}


def projection(
    widths: Sequence[int], generator: Generator, batch_norm: bool, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """A perceptron from widths[0] to widths[-1].

    Args:
        widths: of the input, the hidden layers and the output.
        generator: draws the initial weights.
        batch_norm: whether one precedes each activation.
        activation: made after every layer but the last.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(linear(inputs, outputs, generator, bias=not batch_norm))
        layers.extend([nn.BatchNorm1d(outputs)] if batch_norm else [])
        layers.append(activation())
    return nn.Sequential(*layers, linear(widths[-2], widths[-1], generator))


def processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def gathered(rows: Tensor) -> Tensor:
    """The rows [B, …] of all processes as one tensor [processes · B, …], through which gradients flow to each.

    Every process then has the loss of the whole batch. Its gradient arrives at each row once from every process, and
    DistributedDataParallel takes the mean over the processes: together that is the gradient of the loss.
    """
    if processes() == 1:
        return rows
    return _Gathered.apply(rows.contiguous())


class _Gathered(torch.autograd.Function):
    """The rows of all processes, in their order; backwards, the sum of what each process found for the rows of this one."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(processes())]
        distributed.all_gather(everyone, rows)
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(processes())[distributed.get_rank()]


def full_precision(values: Tensor) -> torch.autocast:
    """Within this context nothing is done in half precision: a loss may divide small differences by a small temperature."""
    return torch.autocast(values.device.type, enabled=False)
