from typing import Any

import torch

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.resnet12 import ResNet12
from fewbench.benchmark.backbones.vit import ViT
from fewbench.benchmark.backbones.weights.loading import make_backbone
from fewbench.benchmark.backbones.wide_resnet import WideResNet
from fewbench.benchmark.probe.layers import Layers, layer_names, pooled


def built(recipe, size: int = 32) -> Any:
    return recipe.build(3, size, torch.Generator().manual_seed(0)).eval()


def test_the_layers_of_a_network_are_its_blocks_in_order():
    conv4, vit = Conv4(), ViT(depth=3)
    assert layer_names(conv4, built(conv4)) == ["0", "1", "2", "3"]
    assert layer_names(vit, built(vit)) == ["blocks.0", "blocks.1", "blocks.2"]
    assert layer_names(ResNet12(width=2), built(ResNet12(width=2))) == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    assert layer_names(WideResNet(), built(WideResNet(), 8)) == ["conv1", "block1", "block2", "block3", "bn1"]


def test_wrappers_are_opened_and_sequences_of_blocks_taken_apart():
    clip, resnet = make_backbone("clip-tiny", {}), make_backbone("timm:resnet18", {})
    assert layer_names(clip, built(clip, 64))[-2:] == ["visual.layer4.0", "visual.attnpool"]
    assert layer_names(resnet, built(resnet, 64))[:4] == ["conv1", "bn1", "layer1.0", "layer1.1"]


def test_the_numbers_are_the_pooled_outputs_and_the_feature():
    recipe, images = Conv4(width=8), torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = built(recipe)
    layers = Layers(recipe, network, images[:1])
    assert layers.widths == {"0": 1 * 8 * 11 * 11, "1": 8 * 8 * 8, "2": 8 * 4 * 4, "feature": 8 * 2 * 2}
    with torch.no_grad():
        numbers = layers(images).split([*layers.widths.values()], dim=1)
        torch.testing.assert_close(numbers[-1], network(images))
        torch.testing.assert_close(numbers[1], network[:2](images).flatten(1))
        torch.testing.assert_close(numbers[0], torch.nn.functional.adaptive_avg_pool2d(network[:1](images), 11).flatten(1))
    assert not any(module._forward_hooks for module in network.modules())


def test_outputs_become_at_most_1024_numbers():
    assert pooled(torch.ones(2, 64, 16, 16)).shape == (2, 1024)
    assert pooled(torch.ones(2, 2000, 3, 3)).shape == (2, 2000)
    torch.testing.assert_close(pooled(torch.arange(12.0).view(1, 3, 4)), torch.tensor([[4.0, 5.0, 6.0, 7.0]]))
