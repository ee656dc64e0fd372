"""Modules drawn from a generator that is passed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewbench.methods.parts.initial_values import drawn, seeded


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


def test_no_generator_but_that_of_the_cpu_is_seeded(monkeypatch: pytest.MonkeyPatch):
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, lambda seed: pytest.fail("the generators of GPUs were seeded"))
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("every generator was seeded"))
    state = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(3):
        assert torch.equal(torch.rand(2), first)


def test_the_generator_moves_on():
    generator = torch.Generator().manual_seed(0)
    first, second = (drawn(lambda: nn.Linear(3, 4), generator).weight for _ in range(2))
    assert not torch.equal(first, second)
