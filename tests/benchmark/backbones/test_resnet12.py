from typing import Any

import pytest
import torch

from fewbench.benchmark.backbones.layers import begin_step
from fewbench.benchmark.backbones.resnet12 import ResNet12
from fewbench.core.errors import UsageError


def build(channels: int = 3, size: int = 84, **parameters: Any) -> torch.nn.Module:
    return ResNet12(**parameters).build(channels, size, torch.Generator().manual_seed(0)).eval()


def test_84_pixels_give_640_features():
    module = build()
    with torch.no_grad():
        features = module(torch.rand(1, 3, 84, 84))
        assert features.shape == (1, 640) and features.std() > 0
        assert module[:4](torch.rand(1, 3, 84, 84)).shape == (1, 640, 5, 5)  # type: ignore[index]


def test_it_has_the_parameters_of_the_paper():
    expected, inputs = 0, 1
    for width in (64, 160, 320, 640):
        # three 3 × 3 convolutions and a 1 × 1 beside them, each with scale and shift
        expected += 9 * inputs * width + 2 * 9 * width * width + inputs * width + 4 * 2 * width
        inputs = width
    assert sum(parameter.numel() for parameter in build(channels=1).parameters()) == expected


def test_layers_are_named_as_in_published_weights():
    names = build().state_dict()
    assert {"layer1.0.conv1.weight", "layer4.0.bn3.running_var", "layer2.0.downsample.0.weight"} <= names.keys()
    assert len([name for name in names if not name.endswith("num_batches_tracked")]) == 4 * (3 * 5 + 5)


def test_a_block_adds_its_shortcut():
    module = build(size=16)
    with torch.no_grad():
        block = module[0][0]  # type: ignore[index]
        block.bn3.weight.zero_()
        x = torch.rand(1, 3, 16, 16)
        expected = torch.nn.functional.max_pool2d(torch.nn.functional.leaky_relu(block.downsample(x), 0.1), 2)
        torch.testing.assert_close(block(x), expected)
    assert expected.min() < 0


@pytest.mark.parametrize("norm", ["group", "layer", "instance"])
def test_every_norm_is_of_the_kind(norm: str):
    module = build(size=16, norm=norm)
    assert {name for name, _ in module.named_parameters()} == {name for name, _ in build(size=16).named_parameters()}
    assert not list(module.buffers())  # no batch norm is left
    with torch.no_grad():
        features = module(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 640) and features.isfinite().all() and features.std() > 0


def test_the_last_two_blocks_drop_in_training_alone():
    module, x = build(size=32, norm="group"), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    without = build(size=32, norm="group", drop_rate=0.0)
    begin_step(module, 40_000, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(module(x), without(x))
        for block, (part, other) in enumerate(zip(module[:4], without.train()[:4], strict=True), start=1):  # type: ignore[index]
            expected = other(x)
            assert torch.equal(part.train()(x), expected) == (block < 3), block
            x = expected


def test_the_rate_of_dropping_changes_the_name_of_a_record_only_where_it_was_set():
    assert ResNet12().parameters == {} and ResNet12().changed == []
    changed = ResNet12.from_name("resnet12", {"drop_rate": "0", "norm": "group"})
    assert changed.parameters == {"norm": "group", "drop_rate": 0.0} and changed.changed == ["norm", "drop_rate"]
    with pytest.raises(UsageError, match=r"^ResNet12: drop_rate=1: from 0 to below 1$"):
        ResNet12(drop_rate=1.0)


def test_images_that_are_too_small_are_told():
    with pytest.raises(UsageError, match=r"^backbone resnet12: images of 15 pixels are too small, it needs 16$"):
        build(size=15)


def test_a_narrower_network_keeps_the_proportions_of_the_blocks():
    narrow = ResNet12(width=28)
    module = narrow.build(3, 32, torch.Generator().manual_seed(0)).eval()
    assert [block[0].conv1.out_channels for block in module[:4]] == [28, 70, 140, 280]  # type: ignore[index]
    with torch.no_grad():
        assert module(torch.rand(1, 3, 32, 32)).shape == (1, 280)
    assert narrow.parameters == {"width": 28}


@pytest.mark.parametrize("width", [0, 7])
def test_a_width_that_the_growth_does_not_divide_is_refused(width: int):
    with pytest.raises(UsageError, match=r"an even number|at least 2"):
        ResNet12(width=width)
