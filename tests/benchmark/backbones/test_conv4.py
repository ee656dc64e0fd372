from typing import Any

import pytest
import torch
from torch import nn

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.core.errors import UsageError


def build(channels: int = 3, size: int = 32, **parameters: Any) -> torch.nn.Module:
    return Conv4(**parameters).build(channels, size, torch.Generator().manual_seed(0)).eval()


@pytest.mark.parametrize(("channels", "size", "features"), [(3, 84, 1600), (1, 28, 64), (3, 32, 256)])
def test_the_sizes_of_the_papers(channels: int, size: int, features: int):
    module = build(channels, size)
    with torch.no_grad():
        assert module(torch.zeros(2, channels, size, size)).shape == (2, features)
    weights = channels * 9 * 64 + 3 * 64 * 9 * 64 + 4 * 64 + 4 * 2 * 64
    assert sum(parameter.numel() for parameter in module.parameters()) == weights


@pytest.mark.parametrize(
    ("norm", "kind", "state"),
    [
        ("batch", nn.BatchNorm2d, {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}),
        ("group", nn.GroupNorm, {"weight", "bias"}),
        ("layer", nn.GroupNorm, {"weight", "bias"}),
        ("instance", nn.InstanceNorm2d, {"weight", "bias"}),
    ],
)
def test_every_block_has_the_norm(norm: str, kind: type[nn.Module], state: set[str]):
    module = build(size=16, width=8, norm=norm)
    assert sum(type(layer) is kind for layer in module.modules()) == 4
    assert {name.removeprefix("2.1.") for name in module.state_dict() if name.startswith("2.1.")} == state
    with torch.no_grad():
        features = module(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 8) and features.isfinite().all() and features.std() > 0


def test_strides_halve_the_maps_and_the_last_is_averaged():
    pooled, strided = build(channels=1, size=28), build(channels=1, size=28, halving="stride")
    assert pooled.state_dict().keys() == strided.state_dict().keys()
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    sizes = []
    maps = images
    with torch.no_grad():
        for block in list(strided.children())[:4]:
            maps = block(maps)
            sizes.append(tuple(maps.shape[2:]))
        assert sizes == [(14, 14), (7, 7), (4, 4), (2, 2)]
        torch.testing.assert_close(strided(images), maps.mean(dim=(2, 3)))
    assert "halving" not in Conv4().parameters and Conv4(halving="stride").parameters["halving"] == "stride"


def test_what_cannot_be_built_is_told():
    with pytest.raises(UsageError, match=r"^Conv4: width=0: at least 1$"):
        Conv4(width=0)
    with pytest.raises(UsageError, match="images of 15 pixels are too small, it needs 16"):
        build(size=15)
