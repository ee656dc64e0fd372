"""Random numbers that leave global generators unchanged: for a method within an episode, and for a network's initial values.

Inside a method a number is a pure function of (episode seed, stream number, position). The generator is SplitMix64 (Steele, Lea
and Flood 2014, "Fast splittable pseudorandom number generators"): a mixing function of a counter times an odd constant. Any
number can be computed without the earlier ones. Permuting episodes therefore permutes the numbers, and neither batch size nor
padding changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def _signed(word: int) -> int:
    """The int64 that equals `word` modulo 2⁶⁴. Torch multiplies int64 modulo 2⁶⁴, too, as the generator needs."""
    return (word + 2**63) % 2**64 - 2**63


GOLDEN_GAMMA = _signed(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = _signed(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = _signed(0x94D049BB133111EB)


def random_words(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Random 64-bit words.

    Args:
        seeds: int64 [E], one for each episode.
        stream: number of the stream; different streams are independent.
        count: number of words for each episode.

    Returns:
        int64 [E, count], all bits random; entry [e, i] depends only on (seeds[e], stream, i).
    """
    keys = _mixed(seeds + _signed(GOLDEN_GAMMA * (stream + 1)))  # [E]
    counters = torch.arange(1, count + 1, device=seeds.device) * GOLDEN_GAMMA  # [count]
    return _mixed(keys[:, None] + counters)


def uniform(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Uniform float32 numbers in [0, 1), [E, count], each a multiple of 2⁻²⁴."""
    return _shifted_right(random_words(seeds, stream, count), 40).to(torch.float32) * 2.0**-24


def shuffled(seeds: Tensor, stream: int, present: Tensor) -> Tensor:
    """Shuffle the places of each episode.

    Args:
        seeds: int64 [E].
        stream: as in `random_words`.
        present: bool [E, S], False where a place is padding.

    Returns:
        int64 [E, S]: the places of each episode in random order, then padding.
    """
    keys = _shifted_right(random_words(seeds, stream, present.shape[1]), 1)  # 0 … 2⁶³ − 1
    return keys.masked_fill(~present, 2**63 - 1).argsort(dim=1)


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted_right(words, 30)) * FIRST_MULTIPLIER
    words = (words ^ _shifted_right(words, 27)) * SECOND_MULTIPLIER
    return words ^ _shifted_right(words, 31)


def _shifted_right(words: Tensor, bits: int) -> Tensor:
    """Shift in zeros from the left. Torch's own `>>` copies the sign bit."""
    return (words >> bits) & (2 ** (64 - bits) - 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator of the CPU for code that can only draw from it, and restore its state afterwards.

    `torch.manual_seed` would also seed the generators of accelerators, which `fork_rng(devices=[])` does not restore.

    Args:
        seed: 0 ≤ seed < 2⁶³.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def drawn(make: Callable[[], Module], generator: Generator) -> Module:
    """Make a module with torch's own initialisation, seeded by `generator`.

    Args:
        make: builds the module on the CPU; it may draw from the global generator, whose state is restored afterwards.
        generator: gives the seed.
    """
    with seeded(int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))):
        return make()
