from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn

from fewbench.benchmark.backbones.base import Backbone
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.resnet12 import ResNet12
from fewbench.benchmark.backbones.timm_blocks import last_block
from fewbench.benchmark.backbones.tuning import unfreeze
from fewbench.methods.parts.adaptation import AdaptableBackbone
from fewbench.methods.parts.frozen_part import frozen_part

IMAGES = torch.randn(3, 3, 32, 32, generator=Generator().manual_seed(1))


def freed(network: nn.Module, names: set[str]) -> AdaptableBackbone:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    return AdaptableBackbone(network)


def of(recipe: Backbone, tune: str) -> AdaptableBackbone:
    return AdaptableBackbone(unfreeze(recipe.build(3, 32, Generator().manual_seed(0)).eval(), tune, recipe))


def vit() -> AdaptableBackbone:
    network = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=0).eval()
    return freed(network, last_block(network))


def resnet() -> AdaptableBackbone:
    network = timm.create_model("resnet10t", num_classes=0).eval()
    return freed(network, last_block(network))


CHAINS = {
    "conv4": lambda: of(Conv4(width=8), "last-block"),
    "resnet12": lambda: of(ResNet12(), "last-block"),
    "a ViT": vit,
    "a ResNet of timm": resnet,
    "norms of conv4": lambda: of(Conv4(width=8), "norm"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_features_and_gradients_are_those_of_the_whole_network(name: str):
    backbone = CHAINS[name]()
    found = frozen_part(backbone, IMAGES[:2])
    assert found is not None
    remembered = found.remember(IMAGES)
    assert remembered.shape[0] == 3 and remembered[0].numel() == found.numbers and not remembered.requires_grad
    moved = {name: (value.detach() * 1.1).requires_grad_() for name, value in backbone.freed().items()}
    features, expected = found.encode(moved, remembered), backbone.encode(moved, IMAGES)
    torch.testing.assert_close(features, expected)
    slopes, expected_slopes = (torch.autograd.grad(x.square().sum(), list(moved.values())) for x in (features, expected))
    torch.testing.assert_close(slopes, expected_slopes)
    torch.testing.assert_close(found.encode(moved, remembered[1:2]), expected[1:2], rtol=1e-4, atol=1e-5)


def test_what_comes_before_is_not_computed_again():
    backbone = of(Conv4(width=8), "last-block")
    found = frozen_part(backbone, IMAGES)
    assert found is not None
    remembered, ran = found.remember(IMAGES), []
    for layer in backbone.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, inputs, output: ran.append(layer))
    found.encode(backbone.freed(), remembered)
    assert len(ran) == 1
    backbone.encode({}, IMAGES)  # and the whole network is whole again
    assert len(ran) == 5


class Around(nn.Module):
    """The image goes around the frozen layer to the one that moves."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.moves = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, images: Tensor) -> Tensor:
        images = images[:, :, :2, :2].flatten(1)
        return self.moves(self.frozen(images) + images)


class WritesOver(nn.Module):
    """What moves writes into what the frozen layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.moves = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, images: Tensor) -> Tensor:
        return self.moves(self.frozen(images[:, :, :2, :2].flatten(1)).mul_(2))


class Bare(nn.Module):
    """The parameter that moves belongs to no layer and comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.moves, self.frozen = nn.Parameter(torch.ones(12)), nn.Linear(12, 12)

    def forward(self, images: Tensor) -> Tensor:
        return self.frozen(images[:, :, :2, :2].flatten(1) * self.moves)


@pytest.mark.parametrize(("network", "freed_names"), [
    (Around(), {"moves.weight"}), (WritesOver(), {"moves.weight"}), (Bare(), {"moves"}), (Around(), {"frozen.weight"}),
    (Around(), set()),
])  # fmt: skip
def test_a_network_that_cannot_be_cut_is_left_whole(network: nn.Module, freed_names: set[str]):
    backbone = freed(network, freed_names)
    before = backbone.encode({}, IMAGES)
    assert frozen_part(backbone, IMAGES) is None
    assert torch.equal(backbone.encode({}, IMAGES), before)
