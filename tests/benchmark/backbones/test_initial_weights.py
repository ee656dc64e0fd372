"""The initial weights of every backbone come from the generator that it is given."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from fewbench.benchmark.backbones.clip.clip_tiny import ClipTiny
from fewbench.benchmark.backbones.weights.loading import make_backbone
from fewbench.benchmark.built_in import BUILT_IN

SMALL = {"resnet12": {"width": 8}, "vit": {"depth": 2, "width": 48, "heads": 2}}
SIZES = {"clip-tiny": 64, "timm:test_efficientnet": 160}
WITH_TEXT = "clip-tiny with its text tower"
NAMES = sorted({name for name in BUILT_IN["backbones"] if not name.endswith(":NAME")} | {"timm:test_efficientnet", WITH_TEXT})


def build(name: str, seed: int) -> nn.Module:
    generator = Generator().manual_seed(seed)
    if name == WITH_TEXT:
        return ClipTiny().dual_encoder(3, 64, generator)
    return make_backbone(name, SMALL.get(name, {})).build(3, SIZES.get(name, 32), generator)


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_depend_on_the_generator_alone(name: str):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build(name, 3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # the global generator was not used
    torch.manual_seed(2)
    again = build(name, 3).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    matrices = {key: weight for key, weight in build(name, 4).named_parameters() if weight.dim() > 1}
    drawn = [key for key in matrices if first[key].min() < first[key].max()]  # the others start as a constant
    assert drawn and not any(torch.equal(first[key], matrices[key]) for key in drawn)


@pytest.mark.parametrize(
    ("name", "weight", "variance", "rel"),
    [
        ("wrn-28-10", "block3.layer.2.conv1.weight", 2 / (9 * 640), 0.01),
        ("resnet12", "layer4.0.conv2.weight", 2 / 1.01 / (9 * 640), 0.01),  # slope 0.1
        ("relation-encoder", "layer3.0.weight", 2 / (9 * 64), 0.02),
    ],
)
def test_convolutions_have_the_deviation_of_he_et_al_by_fan_out(name: str, weight: str, variance: float, rel: float):
    module = make_backbone(name, {}).build(3, 32, Generator().manual_seed(3))
    assert module.state_dict()[weight].std().item() == pytest.approx(variance**0.5, rel=rel)
