"""Initial values of learned modules and networks, drawn without a trace in any global generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Generator, nn

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator of the CPU, for code that draws from nothing else, and put it back afterwards.

    `torch.manual_seed` would seed the generators of accelerators too, which `fork_rng(devices=[])` does not put back.

    Args:
        seed: 0 ≤ seed < 2⁶³.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def drawn(make: Callable[[], Module], generator: Generator) -> Module:
    """Make a module whose initial values are what torch's own initialisation draws, seeded by `generator`.

    Args:
        make: builds the module on the CPU; it may draw from the global generator, which is put back afterwards.
        generator: gives the seed.
    """
    with seeded(int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))):
        return make()
