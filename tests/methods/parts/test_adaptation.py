from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.methods.parts.adaptation import AdaptableBackbone, Statistics


class Net(nn.Module):
    """A batch norm behind a convolution, then the mean over pixels; fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.dropout(self.norm(self.convolution(images))).mean(dim=(2, 3))
        if images[0, 0, 0, 0] == 99:
            raise ArithmeticError("told to fail")
        return features


@pytest.fixture
def net() -> Net:
    """A network in training mode, with parameters and statistics that are not the initial ones."""
    net, random = Net(), Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*net.parameters(), net.norm.running_mean]:
            assert tensor is not None
            tensor.copy_(torch.randn(tensor.shape, generator=random))
        assert net.norm.running_var is not None
        net.norm.running_var.copy_(torch.rand(3, generator=random) + 0.5)
    return net


def images(seed: int, count: int = 4) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=Generator().manual_seed(seed))


def by_hand(net: Net, batch: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    values = torch.nn.functional.conv2d(batch, net.convolution.weight, net.convolution.bias)
    scaled = (values - mean[:, None, None]) / (variance[:, None, None] + net.norm.eps).sqrt()
    return (scaled * net.norm.weight[:, None, None] + net.norm.bias[:, None, None]).mean(dim=(2, 3))


def statistics_of(net: Net, batch: Tensor) -> tuple[Tensor, Tensor]:
    values = net.convolution(batch).transpose(0, 1).flatten(1)  # [channels, images × pixels]
    return values.mean(dim=1), ((values - values.mean(dim=1, keepdim=True)) ** 2).mean(dim=1)


@pytest.mark.parametrize("statistics", ["running", "support", "queries"])
def test_batch_norm_uses_the_statistics_asked_for(statistics: Statistics, net: Net):
    support, queries = images(1), images(2, 7)
    assert net.norm.running_mean is not None and net.norm.running_var is not None
    running = net.norm.running_mean.clone(), net.norm.running_var.clone()
    own = {"support": statistics_of(net, support), "queries": statistics_of(net, queries)}
    backbone = AdaptableBackbone(net, statistics)
    for _ in range(2):  # the second time as the first
        of_support = running if statistics == "running" else own["support"]
        torch.testing.assert_close(backbone.encode({}, support), by_hand(net, support, *of_support))
        of_queries = running if statistics == "running" else own[statistics]
        torch.testing.assert_close(backbone.encode_queries({}, queries, support), by_hand(net, queries, *of_queries))


def test_the_statistics_of_the_support_are_those_under_the_parameters_passed(net: Net):
    support, queries = images(1), images(2)
    other = {"convolution.bias": net.get_parameter("convolution.bias") + 3, "convolution.weight": 2 * net.convolution.weight}
    features = AdaptableBackbone(net, "support").encode_queries(other, queries, support)
    with torch.no_grad():
        for name, value in other.items():
            net.get_parameter(name).copy_(value)
    torch.testing.assert_close(features, by_hand(net, queries, *statistics_of(net, support)))


def state(net: nn.Module) -> dict[str, Any]:
    flags = {name: (layer.training, len(layer._forward_pre_hooks)) for name, layer in net.named_modules()}
    return {"flags": flags, "tensors": {name: value.clone() for name, value in net.state_dict().items()}}


@pytest.mark.parametrize("statistics", ["running", "support", "queries"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_left_as_it_was(statistics: Statistics, fails: bool, net: Net):
    before, support, queries = state(net), images(1), images(2)
    backbone = AdaptableBackbone(net, statistics)
    expected = backbone.encode_queries({}, queries, support)
    if fails:
        for failing in (support, queries):
            failing = failing.clone()
            failing[0, 0, 0, 0] = 99
            with pytest.raises(ArithmeticError):
                backbone.encode_queries({}, failing, failing)
    after = state(net)
    assert after["flags"] == before["flags"]
    for name, value in before["tensors"].items():
        assert torch.equal(after["tensors"][name], value)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(backbone.encode_queries({}, queries, support), expected)


def test_gradients_reach_the_freed_copies_alone(net: Net):
    net.requires_grad_(False)
    net.norm.requires_grad_(True)
    backbone = AdaptableBackbone(net)
    freed = backbone.freed()
    assert set(freed) == {"norm.weight", "norm.bias"}
    backbone.encode(freed, images(1)).square().sum().backward()
    assert all(tensor.is_leaf and tensor.grad is not None and tensor.grad.any() for tensor in freed.values())
    assert all(parameter.grad is None for parameter in net.parameters())
    freed["norm.bias"].data.add_(1)
    assert not torch.equal(freed["norm.bias"], net.norm.bias)


def test_a_built_in_backbone_encodes_as_it_does_in_evaluation_mode():
    network = Conv4(width=4).build(3, 16, Generator().manual_seed(0))
    network(torch.randn(8, 3, 16, 16, generator=Generator().manual_seed(1)))  # running statistics of its own
    batch = torch.randn(5, 3, 16, 16, generator=Generator().manual_seed(2))
    features = AdaptableBackbone(network).encode({}, batch)
    assert torch.equal(features, network.eval()(batch))
