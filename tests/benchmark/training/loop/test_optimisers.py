import json
import math

import pytest
import torch
from torch import nn

from fewbench.benchmark.training.loop.optimisers import load_optimizer_state, make_optimizer, make_schedule, optimizer_state
from fewbench.benchmark.training.options import LoopOptions
from fewbench.core.errors import UsageError


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    return module


def move(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        module(torch.randn(5, 3, 3, 3)).square().sum().backward()
        optimizer.step()


NAMES = ["adam", "adamw", "sgd", "momentum", "rmsprop", "lamb", "nadam", "adafactor", "lion", "muon", "locoprop"]


@pytest.mark.parametrize("name", NAMES)
def test_an_optimiser_with_its_state_put_back_goes_on_bit_for_bit(name: str):
    options = LoopOptions(steps=10, validate_every=1, optimizer=name, weight_decay=0.1)
    whole, parts, after = network(), network(), network()
    move(whole, make_optimizer(whole, options), range(6))
    before = make_optimizer(parts, options)
    move(parts, before, range(3))
    tensors, plain = optimizer_state(before)
    copies = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    after.load_state_dict(parts.state_dict())
    optimizer = make_optimizer(after, options)
    load_optimizer_state(optimizer, copies, json.loads(json.dumps(plain)))
    move(after, optimizer, range(3, 6))
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), after.parameters(), strict=True))
    fresh = network()
    fresh.load_state_dict(parts.state_dict())
    move(fresh, make_optimizer(fresh, options), range(3, 6))
    assert not all(torch.equal(*pair) for pair in zip(whole.parameters(), fresh.parameters(), strict=True))


def rates(**options) -> list[float]:
    chosen = LoopOptions(validate_every=1, learning_rate=0.8, **options)
    optimizer = make_optimizer(network(), chosen)
    schedule = make_schedule(optimizer, chosen)
    found = []
    for step in range(chosen.steps):
        schedule.step_update(step)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_learning_rates_follow_their_schedules():
    assert rates(steps=3, schedule="constant") == [0.8] * 3
    assert rates(steps=5, schedule="step", halve_every=2) == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2])
    assert rates(steps=8) == pytest.approx([0.4 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])
    assert rates(steps=6, schedule="constant", warmup_steps=4) == pytest.approx([0.008, 0.206, 0.404, 0.602, 0.8, 0.8])
    assert rates(steps=6, schedule="step", halve_every=2, warmup_steps=2) == pytest.approx([0.008, 0.404, 0.8, 0.8, 0.4, 0.4])


@pytest.mark.parametrize(
    ("name", "told"),
    [("adamm", "did you mean 'adam'"), ("adahessian", "second derivatives"), ("bnbadam", "cannot be made here")],
)
def test_an_optimiser_that_cannot_be_used_is_refused_in_one_line(name: str, told: str):
    with pytest.raises(UsageError, match=told) as caught:
        make_optimizer(network(), LoopOptions(steps=1, validate_every=1, optimizer=name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": -1}, "--steps -1: at least 0"),
        ({"validate_every": 0}, "--validate-every"),
        ({"learning_rate": 0.0}, "--learning-rate 0: above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"schedule": "cosin"}, "not cosine, step or constant"),
        ({"precision": "fp8"}, "--precision fp8: not fp32, bf16"),
        ({"schedule": "step"}, "--halve-every"),
        ({"halve_every": 3}, "--schedule step"),
        ({"time_limit": -1.0}, "--time-limit"),
        ({"patience": 0}, "--patience"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, told: str):
    with pytest.raises(UsageError, match=told):
        LoopOptions(**{"steps": 1, "validate_every": 1, **options})
