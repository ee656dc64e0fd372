import copy
from dataclasses import replace

import pytest
import torch
from torch import Generator
from torch.nn import functional

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.layers import DropBlock, Norm, begin_step, convolution, normalisation
from fewbench.benchmark.backbones.resnet12 import ResNet12
from fewbench.benchmark.backbones.vit import ViT


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 9), (3, 2, 5), (1, 1, 9), (1, 2, 5)])
def test_only_the_stride_changes_the_size_of_the_map(kernel: int, stride: int, side: int):
    layer = convolution(2, 7, kernel, torch.Generator(), stride)
    assert layer(torch.rand(1, 2, 9, 9)).shape == (1, 7, side, side) and layer.bias is None


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5])
def test_initial_weights_keep_the_scale_of_gradients(slope: float):
    weight = convolution(64, 256, 3, torch.Generator().manual_seed(0), slope=slope).weight
    assert weight.std().item() == pytest.approx((2 / (1 + slope**2) / (9 * 256)) ** 0.5, rel=0.01)
    assert abs(weight.mean().item()) < 1e-3


@pytest.mark.parametrize(
    ("norm", "channels", "groups"),
    [
        ("group", 64, 32),
        ("group", 160, 32),
        ("group", 48, 24),
        ("group", 37, 1),
        ("group", 8, 8),
        ("layer", 64, 1),
        ("instance", 6, 6),
    ],
)
def test_each_image_is_normalised_by_itself_in_groups_of_channels(norm: Norm, channels: int, groups: int):
    layer = normalisation(norm, channels)
    x = 3 + 2 * torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    grouped = x.view(2, groups, -1)
    expected = (grouped - grouped.mean(dim=2, keepdim=True)) / (grouped.var(dim=2, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), expected.view_as(x), atol=1e-4, rtol=1e-4)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * channels
    assert torch.equal(layer(x), layer.eval()(x))  # there are no running statistics


def test_batch_norm_keeps_running_statistics():
    layer = normalisation("batch", 3)
    assert type(layer) is torch.nn.BatchNorm2d and layer.running_mean is not None


def dropped(layer: DropBlock, step: int, seed: int = 0, channels: int = 200, side: int = 10) -> torch.Tensor:
    """What becomes of ones [2, channels, side, side] in training."""
    begin_step(torch.nn.Sequential(layer), step, torch.Generator().manual_seed(seed))
    return layer.train()(torch.ones(2, channels, side, side))


def test_drop_block_drops_squares_and_scales_up_the_rest():
    out = dropped(DropBlock(0.2, 3), step=40_000)
    gone = out == 0
    assert gone.float().mean() == pytest.approx(0.18, abs=0.02)  # a little less than the rate, where squares overlap
    assert out.mean() == pytest.approx(1, abs=1e-5) and len(out.unique()) == 2
    # Every pixel that is gone lies in a square that is gone: opening by the square changes nothing.
    eroded = -functional.max_pool2d(-gone.float(), 3, stride=1)
    opened = functional.max_pool2d(functional.pad(eroded, (2, 2, 2, 2)), 3, stride=1)
    assert torch.equal(opened, gone.float()) and not gone.flatten(2).all(dim=2).any()


def test_the_rate_of_drop_block_grows_over_the_steps():
    layer = DropBlock(0.2, 3)
    shares = [(dropped(layer, step) == 0).float().mean().item() for step in (0, 10_000, 20_000, 40_000, 80_000)]
    assert shares[0] == 0 and shares[0] < shares[1] < shares[2] < shares[3] == shares[4]
    assert shares[2] == pytest.approx(0.1, abs=0.02)


def test_a_square_is_no_larger_than_the_map():
    out = dropped(DropBlock(0.3, 5), step=40_000, channels=1000, side=2)
    gone = (out == 0).flatten(2)
    assert torch.equal(gone.any(dim=2), gone.all(dim=2)) and gone.float().mean() == pytest.approx(0.3, abs=0.05)


def test_what_is_dropped_depends_on_the_generator_alone():
    layer = DropBlock(0.2, 3)
    state = torch.get_rng_state()
    first = dropped(layer, 40_000, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert torch.equal(dropped(copy.deepcopy(layer), 40_000, seed=1), first)
    assert not torch.equal(dropped(layer, 40_000, seed=2), first)


def test_drop_block_is_for_training_alone():
    layer = DropBlock(0.2, 3)
    x = torch.rand(2, 4, 10, 10)
    assert layer.train()(x) is x  # no step has begun
    dropped(layer, 40_000)
    assert layer.eval()(x) is x and not layer.state_dict()


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(Conv4(width=8), 37), (Conv4(width=8, halving="stride"), 32), (ResNet12(width=4), 32), (ViT(depth=2), 32)],
)
def test_a_layer_behind_the_features_leaves_the_network_as_it_is(backbone: Conv4 | ResNet12 | ViT, size: int) -> None:
    with_layer = replace(backbone, projection=10)
    assert "projection" not in backbone.parameters and with_layer.parameters["projection"] == 10
    plain, longer = (each.build(3, size, Generator().manual_seed(0)).eval() for each in (backbone, with_layer))
    before, after = plain.state_dict(), longer.state_dict()
    added = after.keys() - before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name.partition(".")[0] for name in added} == {"head" if isinstance(backbone, ViT) else "projection"}
    images = torch.rand(4, 3, size, size)
    weight = next(after[name] for name in sorted(added) if name.endswith("0.weight"))
    expected = (plain(images) @ weight.T / (1 + 1e-5) ** 0.5).clamp(min=0)
    assert torch.allclose(longer(images), expected, atol=1e-5)
    assert {name for name, _ in longer.named_parameters() if name in added} <= with_layer.last_block(longer)
