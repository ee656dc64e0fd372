from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights import find
from fewbench.benchmark.backbones.weights.checkpoint import (
    read_description,
    weights_sha256,
    write_checkpoint,
)
from fewbench.benchmark.backbones.weights.description import UNKNOWN, Description
from fewbench.benchmark.backbones.weights.find import find_weights, shipped_weights
from fewbench.benchmark.backbones.weights.loading import LoadedBackbone, load_backbone, make_backbone
from fewbench.benchmark.features.encode import Encoding
from fewbench.benchmark.records.answerer import Backbone, Pretraining
from fewbench.core.decoding import encode
from fewbench.core.errors import UsageError
from fewbench.core.files import sha256_of

from .conftest import described, one_line


def section(backbone: LoadedBackbone) -> Backbone:
    return backbone.section(Encoding())


def test_what_was_saved_is_loaded(weights: Path):
    backbone = load_backbone("conv4", {}, weights)
    expected = Conv4(width=8).build(3, 16, torch.Generator().manual_seed(1)).state_dict()
    loaded = backbone.module.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert not backbone.module.training
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())
    assert (backbone.name, backbone.parameters, backbone.feature_dim) == ("conv4", {"width": 8}, 8)
    assert backbone.preprocess == Preprocess(3, 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert backbone.weights == "tiny" and backbone.weights_sha256 == weights_sha256(weights)
    assert backbone.pretraining == Pretraining("nothing", "random", external=False)
    assert section(backbone).changed == ("width",)


def test_a_loaded_network_lets_gradients_reach_what_is_tuned(weights: Path):
    plain, tuned = load_backbone("conv4", {}, weights), load_backbone("conv4", {}, weights, tune="norm")
    free = {name for name, parameter in tuned.module.named_parameters() if parameter.requires_grad}
    assert free == {f"{block}.1.{name}" for block in range(4) for name in ("weight", "bias")}
    assert not tuned.module.training
    size = 3 * 8 * 9 + 3 * 8 * 8 * 9 + 4 * 8 + 4 * 2 * 8
    assert section(tuned) == replace(section(plain), tune="norm", network_parameters=size)
    assert section(plain).tune == "none" and section(plain).network_parameters == size


def test_adapters_do_not_count_as_parameters_of_the_network(weights: Path):
    pytest.importorskip("peft")
    plain, tuned = load_backbone("conv4", {}, weights), load_backbone("conv4", {}, weights, tune="lora")
    assert section(tuned) == replace(section(plain), tune="lora")
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tuned.module(images), plain.module(images)) and not tuned.module.training


def test_an_unknown_scope_is_told_before_anything_is_read():
    with pytest.raises(UsageError, match=r"^--tune last_block: no such scope; did you mean 'last-block'\?$"):
        load_backbone("conv4", {}, Path("nowhere.safetensors"), tune="last_block")


def test_weights_are_found_by_file_or_shipped_name(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(find, "SHIPPED", weights.parent)
    for name in (str(weights), "tiny"):
        found = find_weights("conv4", name, "anything")
        assert found is not None and found.path == weights
    weights.rename(weights.parent / "conv4-birds.safetensors")
    found = find_weights("conv4", None, "birds")
    assert found is not None and found.path == weights.parent / "conv4-birds.safetensors"
    with pytest.raises(UsageError) as caught:
        find_weights("conv4", None, "fish")
    assert one_line(caught) == (
        "no conv4 weights pretrained on fish are shipped; take others with --weights (conv4-birds) "
        "or make some: bench pretrain --dataset fish --backbone conv4"
    )
    with pytest.raises(UsageError, match=r"--weights conv4-bird: no such file .*; did you mean 'conv4-birds'\?"):
        find_weights("conv4", "conv4-bird", "fish")


def test_a_parameter_that_the_weights_do_not_fit_is_told(weights: Path):
    with pytest.raises(UsageError) as caught:
        load_backbone("conv4", {"width": "16"}, weights)
    assert one_line(caught) == "weights tiny were made with width=8; leave the setting out, or pretrain with it"
    with pytest.raises(UsageError, match=r"^weights tiny were made with norm=batch; leave"):
        load_backbone("conv4", {"norm": "group", "width": "8"}, weights)


def described_as(path: Path, backbone: str, settings: dict[str, object]) -> None:
    """Write weights of a network as `bench pretrain` would."""
    made = make_backbone(backbone, settings)
    preprocess = Preprocess(3, 16, (0.5,) * 3, (0.25,) * 3)
    seen = Pretraining("nothing", "random", external=False)
    state = made.build(3, 16, torch.Generator().manual_seed(0)).state_dict()
    write_checkpoint(path, state, Description(backbone, made.parameters, preprocess, seen))


def test_a_parameter_that_changes_the_features_is_told_though_the_tensors_fit(tmp_path: Path):
    described_as(tmp_path / "w.safetensors", "conv4", {"norm": "layer", "width": 8})
    with pytest.raises(UsageError, match=r"^weights w were made with norm=layer; leave"):
        load_backbone("conv4", {"norm": "instance"}, tmp_path / "w.safetensors")


def test_a_parameter_of_the_training_alone_may_differ(tmp_path: Path):
    described_as(tmp_path / "w.safetensors", "resnet12", {})
    assert load_backbone("resnet12", {"drop_rate": "0.3"}, tmp_path / "w.safetensors").parameters["drop_rate"] == 0.3


def test_weights_without_description_are_external(weights: Path, listener):
    save_file(described(weights).tensors, weights)
    backbone = load_backbone("conv4", {"width": "8", "size": "16", "mean": "0.5", "std": "0.2,0.25,0.3"}, weights, listener)
    assert backbone.pretraining == UNKNOWN
    assert backbone.preprocess == Preprocess(3, 16, (0.5, 0.5, 0.5), (0.2, 0.25, 0.3))
    assert backbone.parameters == {"width": 8, "size": 16, "mean": 0.5, "std": [0.2, 0.25, 0.3]}
    assert section(backbone).changed == ("width", "size", "mean", "std")
    assert encode(section(backbone))["preprocess"]["std"] == [0.2, 0.25, 0.3]
    assert listener.said == ["weights tiny.safetensors: 24 of 24 tensors of conv4 match"]
    again = load_backbone("conv4", backbone.parameters, weights)  # as a replay does
    assert section(again) == section(backbone)
    assert torch.equal(again.module(torch.ones(1, 3, 16, 16)), backbone.module(torch.ones(1, 3, 16, 16)))


def test_nothing_is_said_of_weights_with_description(weights: Path, listener):
    load_backbone("conv4", {}, weights, listener)
    assert listener.said == []


def test_a_description_decides_how_images_are_made_ready(weights: Path):
    with pytest.raises(UsageError, match=r"backbone\.mean cannot be set, the description of tiny\.safetensors says it"):
        load_backbone("conv4", {"mean": "0.5"}, weights)


def test_a_pytorch_file_is_loaded_too(weights: Path):
    expected = load_backbone("conv4", {}, weights).module.state_dict()
    path = weights.parent / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in expected.items()}}, path)
    backbone = load_backbone("conv4", {"width": 8, "size": 16}, path)
    assert all(torch.equal(value, expected[name]) for name, value in backbone.module.state_dict().items())
    assert (backbone.weights, backbone.weights_sha256) == ("checkpoint", sha256_of(path))


PLUGIN = """
from dataclasses import dataclass

from torch import nn

from fewbench.benchmark.backbones.base import Backbone
from fewbench.core.options import parameter


@dataclass(frozen=True)
class Means(Backbone):
    '''The mean colours, weighted.'''

    size: int = parameter(3, "features, a parameter of its own and not that of the images")

    def build(self, channels, size, generator):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, self.size))
"""


def test_a_class_in_a_file_is_a_backbone(tmp_path: Path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    name = f"{tmp_path / 'mine.py'}:Means"
    torch.save({"2.weight": torch.eye(3)[:2], "2.bias": torch.zeros(2)}, tmp_path / "mine.pt")
    backbone = load_backbone(name, {"size": "2", "channels": "3", "mean": "0", "std": "1"}, tmp_path / "mine.pt")
    assert (backbone.name, backbone.feature_dim, backbone.preprocess.size) == ("mine.py:Means", 2, 84)
    images = torch.full((1, 84, 84, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(backbone.module(backbone.preprocess(images)), torch.ones(1, 2))
    with pytest.raises(UsageError, match=r"no .*mine\.py:Means weights pretrained on birds are shipped"):
        find_weights(name, None, "birds")


@pytest.mark.parametrize("name", sorted(shipped_weights()))
def test_shipped_weights_load_and_say_how_they_were_made(name: str):
    path = shipped_weights()[name]
    about = read_description(path)
    assert about is not None
    backbone = load_backbone(about.backbone, {}, path)
    assert name == f"{backbone.name}-{about.pretraining.dataset}"
    assert backbone.weights_sha256 == weights_sha256(path) == about.weights_sha256
    assert about.pretraining.split == "train" and not about.pretraining.external
    assert (about.made_by.command or "").startswith("bench pretrain ") and (about.made_by.config or {})["seed"] is not None
    assert (about.val_accuracy.mean or 0) > 1 / (about.val_accuracy.ways or 1)
    assert path.stat().st_size < 2_000_000
