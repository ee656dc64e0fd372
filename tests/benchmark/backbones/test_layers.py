import pytest
import torch

from fewbench.benchmark.backbones.layers import convolution


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 9), (3, 2, 5), (1, 1, 9), (1, 2, 5)])
def test_only_the_stride_changes_the_size_of_the_map(kernel: int, stride: int, side: int):
    layer = convolution(2, 7, kernel, torch.Generator(), stride)
    assert layer(torch.rand(1, 2, 9, 9)).shape == (1, 7, side, side) and layer.bias is None


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5])
def test_initial_weights_keep_the_scale_of_gradients(slope: float):
    weight = convolution(64, 256, 3, torch.Generator().manual_seed(0), slope=slope).weight
    assert weight.std().item() == pytest.approx((2 / (1 + slope**2) / (9 * 256)) ** 0.5, rel=0.01)
    assert abs(weight.mean().item()) < 1e-3
