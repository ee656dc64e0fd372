"""LocoProp against the minimum of its problem, found independently in float64, and against SGD."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from fewbench.benchmark.training.loop import locoprop
from fewbench.benchmark.training.loop.locoprop import LocoProp
from fewbench.benchmark.training.loop.optimisers import make_optimizer
from fewbench.benchmark.training.options import LoopOptions
from fewbench.core.errors import UsageError

RATE = 0.5


def network(bias: bool = True) -> Any:
    """Convolution (stride, padding, dilation), batch norm and classifier for images [B, 3, 7, 7]."""
    generator = Generator().manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=2, padding=(2, 1), dilation=(2, 1), bias=bias),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 16, 5, bias=bias),
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return module


def images(step: int = 0) -> Tensor:
    return torch.randn(6, 3, 7, 7, generator=Generator().manual_seed(step))


def loss_of(module: nn.Module, step: int = 0) -> Tensor:
    return functional.cross_entropy(module(images(step)), torch.arange(6) % 5)


def move(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(module, step).backward()
        optimizer.step()


def minimum(layer: Any, columns: Tensor, outputs: Tensor, slopes: Tensor) -> Tensor:
    """Solve a layer's problem as one of least squares, without its closed form.

    Args:
        layer: with weights [O, ...] and maybe a bias.
        columns: its inputs X [N, D], without the bias's.
        outputs: A [N, O].
        slopes: ∂L/∂A [N, O].

    Returns:
        weights and bias together, [O, D (+ 1)].
    """
    rows = len(columns)
    weights = layer.weight.detach().double().flatten(1)
    if layer.bias is not None:
        columns = torch.cat([columns, torch.ones(rows, 1, dtype=torch.float64)], dim=1)
        weights = torch.cat([weights, layer.bias.detach().double()[:, None]], dim=1)
    targets = outputs - RATE * rows * slopes
    strength = (rows * locoprop.DAMPING * columns.square().mean()).sqrt()  # 1 / √η
    # The regulariser as further rows, whose targets are the weights as they are.
    left = torch.cat([columns, strength * torch.eye(columns.shape[1], dtype=torch.float64)])
    return torch.linalg.lstsq(left, torch.cat([targets, strength * weights.T])).solution.T


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [locoprop.CHUNK, 1])
def test_a_step_ends_in_the_minimum_of_each_layers_problem(bias: bool, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locoprop, "CHUNK", chunk)
    module, exact = network(bias), network(bias).double()
    optimizer = LocoProp(module, RATE)
    convolution, norm, _, flat, linear = exact
    x = images().double()
    maps = convolution(x)
    scaled = norm(maps)
    features = flat(scaled.relu())
    scores = linear(features)
    loss = functional.cross_entropy(scores, torch.arange(6) % 5)
    of_maps, of_scale, of_scores = torch.autograd.grad(loss, [maps, scaled, scores])
    padded = functional.pad(x, (1, 1, 2, 2))
    # Patch by patch, as the loops of a convolution take them.
    patches = torch.stack(
        [padded[n, :, 2 * i : 2 * i + 5 : 2, 2 * j : 2 * j + 2].flatten() for n in range(6) for i in range(4) for j in range(4)]
    )

    def by_place(values: Tensor) -> Tensor:
        return values.detach().permute(0, 2, 3, 1).flatten(0, 2)  # [B, O, H, W] to [N, O]

    expected = {
        0: minimum(convolution, patches, by_place(maps), by_place(of_maps)),
        4: minimum(linear, features.detach(), scores.detach(), of_scores),
    }
    move(module, optimizer, range(1))
    for place, weights in expected.items():
        layer = module[place]
        found = torch.cat([layer.weight.flatten(1), *([layer.bias[:, None]] if bias else [])], dim=1)
        torch.testing.assert_close(found.double(), weights, rtol=1e-5, atol=1e-6)
    normal = (maps - maps.mean((0, 2, 3), keepdim=True)) / maps.std((0, 2, 3), correction=0, keepdim=True)
    inputs, slopes = by_place(normal), by_place(of_scale)
    for channel in range(4):  # each channel of the batch norm is a layer with one input
        one = nn.Linear(1, 1)
        one.weight.data[:], one.bias.data[:] = exact[1].weight[channel].float(), exact[1].bias[channel].float()
        outputs = by_place(scaled)[:, channel : channel + 1]
        weights = minimum(one, inputs[:, channel : channel + 1], outputs, slopes[:, channel : channel + 1])[0]
        found = torch.stack([module[1].weight[channel], module[1].bias[channel]])
        torch.testing.assert_close(found.double(), weights, rtol=1e-4, atol=1e-5)  # its epsilon is no part of the problem


def test_strong_damping_leaves_the_direction_of_sgd(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locoprop, "DAMPING", 1e6)
    module = network(bias=False)  # behind the convolution a batch norm takes its bias off again, whose gradient is rounding
    optimizer, before = LocoProp(module, 1e6), [tensor.detach().clone() for tensor in module.parameters()]
    move(module, optimizer, range(1))
    for tensor, was in zip(module.parameters(), before, strict=True):
        assert tensor.grad is not None
        assert functional.cosine_similarity((was - tensor).flatten(), tensor.grad.flatten(), dim=0) > 0.9999


def test_scaling_a_layers_inputs_changes_nothing_if_its_weights_are_scaled_back():
    plain, scaled = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    scaled.weight.data = plain.weight.data / 8
    x, labels = torch.randn(9, 4, generator=Generator().manual_seed(0)), torch.arange(9) % 3
    for layer, factor in ((plain, 1), (scaled, 8)):
        optimizer = LocoProp(layer, RATE, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(layer(factor * x), labels).backward()
            optimizer.step()
    torch.testing.assert_close(plain.weight, 8 * scaled.weight)


def test_it_learns_and_does_the_same_twice():
    first, second = network(), network()
    options = LoopOptions(steps=30, validate_every=1, optimizer="locoprop", learning_rate=0.3, weight_decay=0.01)
    before = loss_of(first).item()
    for module in (first, second):
        optimizer = make_optimizer(module, options)
        for _ in range(30):
            move(module, optimizer, range(1))
    assert loss_of(first).item() < 0.3 * before
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


def test_evaluation_and_passes_without_gradients_are_not_seen():
    plain, watched = network(), network()
    for module in (plain, watched):
        optimizer = LocoProp(module, RATE)
        if module is watched:
            module.eval()
            loss_of(module, 5)
            module.train()
        move(module, optimizer, range(1))
    assert all(torch.equal(*pair) for pair in zip(plain.parameters(), watched.parameters(), strict=True))


def test_layers_that_are_not_used_and_frozen_ones_stay():
    other = nn.Linear(2, 2)
    module = nn.ModuleDict({"used": network(), "other": other, "frozen": nn.LayerNorm(2)})
    module["frozen"].requires_grad_(False)
    was = other.weight.detach().clone()
    optimizer = LocoProp(module, RATE, weight_decay=0.5)
    loss_of(module["used"]).backward()
    optimizer.step()
    assert torch.equal(other.weight, was)


class Scaled(nn.Linear):
    """A linear layer that does more than one."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), r"LayerNorm 1 cannot be trained with it, .* Linear, Conv2d"),
        (nn.Conv2d(4, 4, 3, groups=2), "Conv2d itself"),
        (nn.Sequential(Scaled(2, 2)), "Scaled 0"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention itself"),
        (nn.ReLU(), "nothing to train"),
    ],
)
def test_layers_of_other_kinds_are_refused_in_one_line(module: nn.Module, told: str):
    with pytest.raises(UsageError, match=told) as caught:
        LocoProp(module, RATE)
    assert "\n" not in str(caught.value)


def test_shared_weights_copies_and_half_precision_are_refused():
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(UsageError, match="weights of its own"):
        LocoProp(tied, RATE)
    layer = nn.Linear(2, 2)
    module = nn.Sequential(layer)
    optimizer = LocoProp(module, RATE)
    copies = {name: 2 * tensor for name, tensor in module.named_parameters()}
    with pytest.raises(UsageError, match="trains copies of layer 0"):
        torch.func.functional_call(module, copies, (torch.ones(1, 2),))
    functional.linear(torch.ones(1, 2), layer.weight, layer.bias).sum().backward()
    with pytest.raises(UsageError, match="layer 0 is used other than by calling it"):
        optimizer.step()
    with pytest.raises(UsageError, match="fp32 or bf16"):
        make_optimizer(network(), LoopOptions(steps=1, validate_every=1, optimizer="locoprop", precision="fp16"))
