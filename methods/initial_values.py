"""Initial values of learned modules, drawn from a generator that is passed, never from the global one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Generator, nn

Module = TypeVar("Module", bound=nn.Module)


def drawn(make: Callable[[], Module], generator: Generator) -> Module:
    """Make a module whose initial values are what torch's own initialisation draws, seeded by `generator`.

    Args:
        make: builds the module on the CPU; it may draw from the global generator, which is put back afterwards.
        generator: gives the seed.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed accelerators too, and not put them back
        return make()
