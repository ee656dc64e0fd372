"""Random numbers of episodes and of initial values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewbench.methods.parts.random_numbers import drawn, random_words, seeded, shuffled, uniform

WORD = 2**64 - 1


def mixed(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def splitmix64(seed: int, number: int) -> int:
    return mixed((seed + 0x9E3779B97F4A7C15 * (number + 1)) & WORD)


def test_the_generator_written_here_gives_the_published_first_number():
    assert splitmix64(1234567, 0) == 6457827717110365317  # the first output of the reference splitmix64.c for this seed


@pytest.mark.parametrize("seed", [0, 1234567, 2**62 + 5, 2**63 - 1])
@pytest.mark.parametrize("stream", [0, 1, 101])
def test_words_are_splitmix64_seeded_by_the_stream_of_the_episode(seed: int, stream: int):
    drawn = random_words(torch.tensor([seed]), stream, 5)[0]
    key = splitmix64(seed, stream)
    assert [word & WORD for word in drawn.tolist()] == [splitmix64(key, i) for i in range(5)]


def test_uniform_is_the_top_24_bits():
    drawn = uniform(torch.tensor([7]), 3, 4)[0]
    key = splitmix64(7, 3)
    assert drawn.tolist() == [(splitmix64(key, i) >> 40) / 2**24 for i in range(4)]


def test_uniform_fills_the_unit_interval_evenly():
    drawn = uniform(torch.arange(100), 0, 1000).flatten()
    counts = torch.histc(drawn, 10, 0, 1)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert (counts - 10_000).abs().max() < 5 * (10_000 * 0.9) ** 0.5


def test_a_number_depends_on_its_own_episode_and_position_only():
    seeds = torch.tensor([5, 6, 7])
    whole = uniform(seeds, 0, 9)
    assert torch.equal(uniform(seeds.flip(0), 0, 9), whole.flip(0))
    assert torch.equal(uniform(seeds[1:2], 0, 4), whole[1:2, :4])


def test_shuffled_gives_the_present_places_in_random_order_and_the_others_last():
    present = torch.tensor([[True, False, True, True, False, True]]).expand(2000, -1)
    order = shuffled(torch.arange(2000), 4, present)
    assert torch.equal(order[:, :4].sort(dim=1).values, torch.tensor([0, 2, 3, 5]).expand(2000, -1))
    orders, counts = order[:, :4].unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert (counts - 2000 / 24).abs().max() < 5 * (2000 / 24) ** 0.5


def test_padding_at_the_end_leaves_the_order_alone():
    seeds = torch.tensor([3, 4])
    order = shuffled(seeds, 0, torch.ones(2, 5, dtype=torch.bool))
    padded = shuffled(seeds, 0, torch.arange(8).expand(2, -1) < 5)
    assert torch.equal(padded[:, :5], order)


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
