"""Activations of the built-in backbones: what SmeLU computes, and that nothing changes where none is chosen."""

import pytest
import torch
from torch import nn

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.layers import ACTIVATIONS, SmeLU
from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.benchmark.backbones.resnet12 import ResNet12
from fewbench.benchmark.backbones.vit import ViT
from fewbench.benchmark.backbones.weights.loading import make_backbone
from fewbench.benchmark.backbones.wide_resnet import WideResNet
from fewbench.core.errors import UsageError

# The activation that each has where none is chosen, and how many there are in the network.
BACKBONES = {
    "conv4": (lambda **more: Conv4(width=4, **more), nn.ReLU, 4),
    "resnet12": (lambda **more: ResNet12(width=2, **more), nn.LeakyReLU, 4),
    "wrn-28-10": (WideResNet, nn.ReLU, 13),
    "relation-encoder": (RelationEncoder, nn.ReLU, 4),
    "vit": (lambda **more: ViT(width=8, heads=2, depth=2, **more), nn.GELU, 2),
}


def built(recipe) -> nn.Module:
    return recipe.build(3, 16, torch.Generator().manual_seed(0)).eval()


def test_smelu_is_zero_then_a_parabola_then_the_identity():
    x = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5], requires_grad=True)
    y = SmeLU()(x)
    torch.testing.assert_close(y, torch.tensor([0, 0, 0.0625, 0.25, 0.5625, 1, 2.5]))
    y.sum().backward()
    expected = torch.tensor([0, 0, 0.25, 0.5, 0.75, 1, 1])
    inside = x.detach().abs() != 1  # where the two halves of the slope meet, either is right
    torch.testing.assert_close(x.grad[inside], expected[inside])  # type: ignore[index]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_chosen_activation_takes_the_place_of_each(name: str):
    make, usual, count = BACKBONES[name]
    plain = built(make())
    assert sum(isinstance(one, usual) for one in plain.modules()) == count
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    features = {"": plain(images)}
    for activation, kind in ACTIVATIONS.items():
        network = built(make(activation=activation))
        chosen = usual if (name, activation) == ("resnet12", "relu") else kind  # resnet12's own relu leaks
        assert sum(isinstance(one, chosen) for one in network.modules()) == count
        for mine, other in zip(network.parameters(), plain.parameters(), strict=True):
            assert torch.equal(mine, other)
        features[activation] = network(images)
    own = "gelu" if name == "vit" else "relu"
    assert torch.equal(features[own], features[""])
    others = [features[activation] for activation in ACTIVATIONS]
    assert all(not torch.equal(one, other) for place, one in enumerate(others) for other in others[:place])


@pytest.mark.parametrize("name", BACKBONES)
def test_the_activation_is_a_parameter_of_records_only_where_it_was_chosen(name: str):
    make, _, _ = BACKBONES[name]
    assert "activation" not in make().parameters
    assert make(activation="swish").parameters["activation"] == "swish"


def test_another_activation_is_refused():
    with pytest.raises(UsageError, match="backbone conv4: activation=tanh: not relu, smelu, gelu or swish"):
        make_backbone("conv4", {"activation": "tanh"})
