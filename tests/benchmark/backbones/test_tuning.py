import copy
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fewbench.benchmark.backbones.base import Backbone
from fewbench.benchmark.backbones.tuning import SCOPES, counts, unfreeze
from fewbench.benchmark.backbones.weights.loading import make_backbone
from fewbench.core.errors import UsageError, UserError

VIT = ("timm:vit_tiny_patch16_224", {"img_size": 32, "depth": 2})
# Backbone, parameters, pixels, which parameters are norms, and what the parameters of the last block begin with.
NETWORKS: dict[str, tuple[str, dict[str, Any], int, tuple[str, ...], tuple[str, ...]]] = {
    "conv4": ("conv4", {"width": 8}, 16, ("0.1.", "1.1.", "2.1.", "3.1."), ("3.",)),
    "conv4-instance": ("conv4", {"width": 8, "norm": "instance"}, 16, ("0.1.", "1.1.", "2.1.", "3.1."), ("3.",)),
    "resnet12-batch": ("resnet12", {}, 16, (".bn1.", ".bn2.", ".bn3.", "downsample.1."), ("layer4.",)),
    "resnet12-group": ("resnet12", {"norm": "group"}, 16, (".bn1.", ".bn2.", ".bn3.", "downsample.1."), ("layer4.",)),
    "resnet12-layer": ("resnet12", {"norm": "layer"}, 16, (".bn1.", ".bn2.", ".bn3.", "downsample.1."), ("layer4.",)),
    "resnet12-instance": ("resnet12", {"norm": "instance"}, 16, (".bn1.", ".bn2.", ".bn3.", "downsample.1."), ("layer4.",)),
    "wide": ("wrn-28-10", {}, 8, ("bn1.", "bn2."), ("block3.", "bn1.")),
    "vit": (*VIT, 32, ("norm1.", "norm2.", "norm."), ("blocks.1.", "norm.")),
    "efficientnet": ("timm:test_efficientnet", {}, 32, ("bn1.", "bn2.", "bn3."), ("blocks.4.0.", "conv_head.", "bn2.")),
    "resnet": ("timm:test_resnet", {}, 32, ("bn1.", "bn2.", "bn3.", "downsample.2.", "conv1.1.", "conv1.4."), ("layer4.0.",)),
    "convnext": ("timm:test_convnext", {}, 32, ("norm.", "downsample.0.", "stem.1."), ("stages.3.blocks.1.", "head.norm.")),
}


def build(name: str) -> tuple[Backbone, nn.Module, torch.Tensor]:
    """A network in evaluation mode, nothing of which requires a gradient, and images for it.

    Noise is in its weights: some networks begin with zeros, behind which no gradient comes.
    """
    called, settings, size, *_ = NETWORKS[name]
    backbone = make_backbone(called, settings)
    module = backbone.build(3, size, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    noise = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter += 0.01 * torch.randn(parameter.shape, generator=noise)
    return backbone, module, torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def moved_by_a_step(module: nn.Module, images: torch.Tensor) -> set[str]:
    """Names in the state (parameters and statistics) that a step of SGD on those that require a gradient changes."""
    before = copy.deepcopy(module.state_dict())
    optimiser = torch.optim.SGD([parameter for parameter in module.parameters() if parameter.requires_grad], lr=0.1)
    features = module(images)
    # Weights of their own for every image and feature: a sum would not depend on what a norm comes after.
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (features * weights).sum().backward()
    optimiser.step()
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def is_norm(name: str, norms: tuple[str, ...]) -> bool:
    """Whether a parameter's name contains one of the names of norms, as a whole."""
    return any(f".{norm.removeprefix('.')}" in f".{name}" for norm in norms)


@pytest.mark.parametrize("scope", ["norm", "last-block", "full"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_moves_the_parameters_of_the_scope_and_nothing_else(name: str, scope: str):
    backbone, module, images = build(name)
    *_, norms, last = NETWORKS[name]
    freed = unfreeze(module, scope, backbone)
    assert freed is module and not module.training
    names = {parameter for parameter, _ in module.named_parameters()}
    kinds: dict[str, Callable[[str], bool]] = {
        "norm": lambda parameter: is_norm(parameter, norms),
        "last-block": lambda parameter: parameter.startswith(last),
        "full": lambda parameter: True,
    }
    expected = {parameter for parameter in names if kinds[scope](parameter)}
    assert expected
    assert {parameter for parameter, value in module.named_parameters() if value.requires_grad} == expected
    moved = moved_by_a_step(module, images)
    assert moved <= expected
    # A bias before a norm, which takes it away again, may stand still.
    assert all(parameter.endswith(".bias") for parameter in expected - moved)
    assert len(moved) >= 0.8 * len(expected)


@pytest.mark.parametrize("name", ["conv4", "resnet12-group", "vit", "efficientnet", "convnext"])
def test_adapters_begin_at_nothing_and_are_all_that_moves(name: str):
    pytest.importorskip("peft")
    backbone, module, images = build(name)
    before, features = copy.deepcopy(module.state_dict()), module(images)
    state = torch.get_rng_state()
    adapted = unfreeze(module, "lora", backbone)
    assert torch.equal(torch.get_rng_state(), state) and not any(part.training for part in adapted.modules())
    assert torch.equal(adapted(images), features)
    trained = {parameter for parameter, value in adapted.named_parameters() if value.requires_grad}
    assert trained and all(".lora_A." in parameter or ".lora_B." in parameter for parameter in trained)
    assert len(trained) == len({parameter for parameter, _ in adapted.named_parameters() if "lora" in parameter})
    moved = moved_by_a_step(adapted, images)
    # At first an adapter's output is zero whatever its first layer is, so that a step moves the second alone.
    assert moved == {parameter for parameter in trained if ".lora_B." in parameter}
    assert not torch.equal(adapted(images), features)
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[parameter]) for parameter, value in module.state_dict().items())
    assert torch.equal(module(images), features) and not any(value.requires_grad for value in module.parameters())


def test_adapters_are_the_same_each_time():
    pytest.importorskip("peft")
    backbone, module, _ = build("conv4")
    torch.manual_seed(1)
    first = unfreeze(module, "lora", backbone).state_dict()
    torch.manual_seed(2)
    again = unfreeze(module, "lora", backbone).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())


@pytest.mark.parametrize("scope", ["none", "head"])
def test_without_a_scope_of_the_backbone_nothing_is_free(scope: str):
    backbone, module, _ = build("conv4")
    unfreeze(unfreeze(module, "full", backbone), scope, backbone)
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("name", ["conv4", "resnet12-group", "vit", "efficientnet", "convnext"])
def test_counts_are_those_of_what_is_freed(name: str):
    pytest.importorskip("peft")
    backbone, module, _ = build(name)
    numbers = counts(module, backbone)
    assert tuple(numbers) == SCOPES
    for scope in SCOPES:
        if numbers[scope] is None:
            with pytest.raises(UserError, match=f"^--tune {scope}: the backbone "):
                unfreeze(module, scope, backbone)
            continue
        freed = unfreeze(module, scope, backbone)
        assert numbers[scope] == sum(value.numel() for value in freed.parameters() if value.requires_grad), scope


class Plugin(Backbone):
    """A network whose parts are somebody else's."""

    def __init__(self, module: nn.Module) -> None:
        object.__setattr__(self, "module", module)

    def build(self, channels: int, size: int, generator: torch.Generator) -> nn.Module:
        return self.module  # type: ignore[attr-defined]


def test_a_network_without_what_the_scope_names_is_told():
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Flatten())
    backbone = Plugin(module)
    with pytest.raises(UserError, match=r"^--tune norm: the backbone has no parameters of that kind; take another scope$"):
        unfreeze(module, "norm", backbone)
    with pytest.raises(UserError, match=r"^--tune lora: the backbone has no linear or ungrouped convolution layers; take "):
        unfreeze(module, "lora", backbone)
    for scope in ("prompt", "prompt-pool"):
        with pytest.raises(UserError, match=rf"^--tune {scope}: the backbone is no ViT of timm or open_clip; take another "):
            unfreeze(module, scope, backbone)
    none_of_it = dict.fromkeys(("norm", "lora", "prompt", "prompt-pool"))
    assert counts(module, backbone) == {"none": 0, "head": 0, "last-block": 40, "full": 40} | none_of_it


def test_a_layer_that_is_read_but_not_called_takes_no_adapter():
    module = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    assert counts(module, Plugin(module))["lora"] == 2 * 8 * (8 + 16)  # its two linear layers, not the output of attention


def test_an_unknown_scope_is_told():
    backbone, module, _ = build("conv4")
    with pytest.raises(UsageError, match=r"^--tune norms: no such scope; did you mean 'norm'\?$"):
        unfreeze(module, "norms", backbone)


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    backbone, module, _ = build("conv4")
    with pytest.raises(UserError, match=r"^--tune lora needs the package peft: pip install peft$"):
        unfreeze(module, "lora", backbone)
    lora = counts(module, backbone)["lora"]
    assert lora is not None and math.isfinite(lora)
