"""The encoder of relation networks."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu

from fewbench.benchmark.backbones.relation_encoder import RelationEncoder
from fewbench.core.errors import UsageError


def build(channels: int = 3, size: int = 84) -> torch.nn.Module:
    return RelationEncoder().build(channels, size, torch.Generator().manual_seed(0)).eval()


@pytest.mark.parametrize(("channels", "size", "side"), [(1, 28, 5), (3, 84, 19), (3, 10, 1)])
def test_the_feature_is_the_flattened_map(channels: int, size: int, side: int):
    with torch.no_grad():
        assert build(channels, size)(torch.rand(2, channels, size, size)).shape == (2, 64 * side * side)


def test_features_are_those_of_the_released_layers():
    module = build(size=20)
    generator = torch.Generator().manual_seed(1)
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            value.normal_(generator=generator)
    x = images = torch.rand(2, 3, 20, 20, generator=generator)
    for layer, padding in ((1, 0), (2, 0), (3, 1), (4, 1)):
        x = conv2d(x, state[f"layer{layer}.0.weight"], state[f"layer{layer}.0.bias"], padding=padding)
        norm = {kind: state[f"layer{layer}.1.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")}
        x = relu(batch_norm(x, **norm))
        x = max_pool2d(x, 2) if layer <= 2 else x
    with torch.no_grad():
        torch.testing.assert_close(module(images), x.flatten(1))


def test_layers_are_named_as_in_published_weights():
    state = build(channels=1, size=28).state_dict()
    kinds = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")
    assert set(state) == {f"layer{layer}.{kind}" for layer in (1, 2, 3, 4) for kind in kinds}
    assert [list(state[f"layer{layer}.0.weight"].shape) for layer in (1, 2)] == [[64, 1, 3, 3], [64, 64, 3, 3]]


def test_images_that_are_too_small_are_told():
    with pytest.raises(UsageError, match=r"^backbone relation-encoder: images of 9 pixels are too small, it needs 10$"):
        build(size=9)
