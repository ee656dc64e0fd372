"""Modules drawn from a generator that is passed."""

from __future__ import annotations

import torch
from torch import nn

from fewbench.methods.initial_values import drawn


def weight(seed: int) -> torch.Tensor:
    return drawn(lambda: nn.Linear(3, 4), torch.Generator().manual_seed(seed)).weight


def test_initial_values_depend_on_the_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = weight(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(weight(3), first)
    assert not torch.equal(weight(4), first)


def test_the_generator_moves_on():
    generator = torch.Generator().manual_seed(0)
    first, second = (drawn(lambda: nn.Linear(3, 4), generator).weight for _ in range(2))
    assert not torch.equal(first, second)
