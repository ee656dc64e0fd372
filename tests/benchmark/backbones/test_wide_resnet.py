import pytest
import torch

from fewbench.benchmark.backbones.layers import Norm
from fewbench.benchmark.backbones.wide_resnet import WideResNet
from fewbench.core.errors import UsageError


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return WideResNet().build(3, 32, torch.Generator().manual_seed(3)).eval()


def test_images_give_640_features_from_a_quarter_of_their_size(network: torch.nn.Module):
    with torch.no_grad():
        images = torch.rand(1, 3, 32, 32)
        features = network(images)
        assert features.shape == (1, 640) and features.std() > 0
        assert network[:4](images).shape == (1, 640, 8, 8)  # type: ignore[index]


def test_it_has_the_parameters_of_the_paper(network: torch.nn.Module):
    classifier = 10 * 640 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == 36_479_194 - classifier  # "36.5M" for CIFAR-10
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 1 + 3 * 4 * 2 + 3  # the stem, two a block, and three shortcuts


def test_a_block_of_equal_width_adds_its_input(network: torch.nn.Module):
    block = network[1].layer[1]  # type: ignore[index]
    x = torch.rand(1, 160, 4, 4)
    with torch.no_grad():
        inner = block.conv2(torch.relu(block.bn2(block.conv1(torch.relu(block.bn1(x))))))
        torch.testing.assert_close(block(x), x + inner)


def test_instance_norm_takes_its_smallest_images_in_training(network: torch.nn.Module):
    module = WideResNet(norm="instance").build(3, 5, torch.Generator().manual_seed(0))
    assert {name for name, _ in module.named_parameters()} == {name for name, _ in network.named_parameters()}
    assert not list(module.buffers())  # no batch norm is left
    with torch.no_grad():
        features = module.train()(torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    assert features.isfinite().all() and features.std() > 0
    assert WideResNet(norm="instance").parameters == {"norm": "instance"} and WideResNet().parameters == {}


@pytest.mark.parametrize(("norm", "size", "smallest"), [("batch", 3, 4), ("instance", 4, 5)])
def test_images_that_are_too_small_are_told(norm: Norm, size: int, smallest: int):
    message = rf"^backbone wrn-28-10: images of {size} pixels are too small, it needs {smallest}$"
    with pytest.raises(UsageError, match=message):
        WideResNet(norm=norm).build(3, size, torch.Generator())
