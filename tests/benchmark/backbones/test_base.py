from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from fewbench.benchmark.backbones.base import Preprocess, feature_width
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.benchmark.evaluation.replay import config_of
from fewbench.benchmark.records.store import load_record
from fewbench.core.errors import UsageError, UserError

COLOUR = Preprocess(channels=3, size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
GREY = Preprocess(channels=1, size=8, mean=(0.0,), std=(1.0,))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_images_are_scaled_and_normalised_channel_by_channel(images: torch.Tensor):
    ready = Preprocess(3, 8, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))(images)
    assert ready.shape == (2, 3, 8, 8) and ready.dtype == torch.float32
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.25), (0.3, 2.0))):
        torch.testing.assert_close(ready[:, channel], (images[..., channel] / 255 - mean) / std)


def test_colour_becomes_grey_by_luma(images: torch.Tensor):
    red, green, blue = (images[..., channel] / 255 for channel in range(3))
    grey = GREY(images)
    assert grey.shape == (2, 1, 8, 8)
    torch.testing.assert_close(grey[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue)
    white = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(GREY(white), torch.ones(1, 1, 8, 8))


def test_grey_becomes_colour_by_repeating(images: torch.Tensor):
    grey = images[..., :1]
    ready = Preprocess(3, 8, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))(grey)
    for channel, mean in enumerate((0.1, 0.2, 0.3)):
        torch.testing.assert_close(ready[:, channel], grey[..., 0] / 255 - mean)


def test_other_sizes_are_resized_with_antialiasing():
    stripes = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    stripes[:, :, 1::4] = stripes[:, :, 2::4] = 255  # where the small pixels' centres lie: all white without antialiasing
    torch.testing.assert_close(COLOUR(stripes)[..., 1:-1], torch.full((1, 3, 8, 6), 0.5), atol=0.02, rtol=0)
    ramp = (torch.arange(4)[None, None, :, None] * 60).expand(1, 4, 4, 3).to(torch.uint8)
    expected = functional.interpolate(ramp.permute(0, 3, 1, 2) / 255, (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(COLOUR(ramp), expected)
    assert COLOUR(torch.zeros(1, 5, 20, 3, dtype=torch.uint8)).shape == (1, 3, 8, 8)


def test_the_images_given_are_not_changed(images: torch.Tensor):
    before = images.clone()
    GREY(images)
    Preprocess(3, 8, (0.5,) * 3, (0.5,) * 3)(images)
    assert torch.equal(images, before)


def test_the_feature_width_is_found():
    assert feature_width(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten()), COLOUR) == 5 * 6 * 6


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (torch.nn.Conv2d(1, 2, 3), r"^the backbone takes no images of 8×8 pixels \(.*channels.*\); set backbone\.size$"),
        (torch.nn.Conv2d(3, 2, 3), r"^the backbone gives \[1, 2, 6, 6\] for one image, not features \[1, D\]$"),
    ],
)
def test_a_network_without_features_is_told(module: torch.nn.Module, message: str):
    with pytest.raises(UserError, match=message) as caught:
        feature_width(module, COLOUR)
    assert "\n" not in str(caught.value)


def test_a_backbone_says_its_parameters_and_which_were_changed():
    assert Conv4.from_name("conv4", {}).parameters == {"width": 64} and Conv4.from_name("conv4", {}).changed == []
    changed = Conv4.from_name("conv4", {"width": "32"})
    assert changed.parameters == {"width": 32} and changed.changed == ["width"]
    assert Conv4.hub_weights("conv4") is None
    with pytest.raises(UsageError, match="backbone conv4 has no parameter 'depth'"):
        Conv4.from_name("conv4", {"depth": "3"})


RESULTS = Path(__file__).parents[3] / "results"
RECORDS = sorted((RESULTS / "records" / "trifeature").glob("*/protonet-conv4-*.json"))
CHECKPOINTS = RESULTS / "checkpoints"


def test_a_later_parameter_is_left_out_at_its_default():
    assert Conv4(norm="batch").parameters == {"width": 64}
    changed = Conv4.from_name("conv4", {"norm": "group"})
    assert changed.parameters == {"width": 64, "norm": "group"} and changed.changed == ["norm"]
    assert Conv4.from_name("conv4", changed.parameters) == changed
    with pytest.raises(UsageError, match=r"^backbone conv4: norm=bach: not batch, group, layer or instance$"):
        Conv4.from_name("conv4", {"norm": "bach"})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_committed_records_keep_their_names(path: Path):
    record = load_record(path)
    config = replace(config_of({}, {}, record), bootstrap=record.accuracy.bootstrap is not None)
    made_here = CHECKPOINTS / f"{config.weights}.safetensors"
    config = replace(config, weights=str(made_here) if made_here.is_file() else config.weights)
    assert make_plan(config).path().name == path.name


class Given(Conv4):
    """A backbone that says nothing about its last block."""


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten()), {"1.weight", "1.bias"}),
        (nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False)), nn.Flatten()), {"0.1.weight"}),
        (nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), {"1.weight", "1.bias"}),
        (nn.Linear(2, 2), {"weight", "bias"}),
        (
            nn.Sequential(nn.Linear(1, 1), *[nn.ReLU()] * 8, nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())),
            {"9.0.weight"},
        ),
    ],
)
def test_the_last_block_of_any_network_is_its_last_part_with_parameters(module: nn.Module, expected: set[str]):
    assert Given().last_block(module) == expected
