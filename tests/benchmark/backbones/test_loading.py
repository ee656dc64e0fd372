import json
import shutil
from pathlib import Path

import pytest
import torch

from fewbench.benchmark.backbones import loading
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.loading import find_weights, load_backbone, save_weights, sidecar
from fewbench.tasks.errors import UsageError, UserError
from fewbench.tasks.files import sha256_of


@pytest.fixture
def weights(tiny_weights: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    for path in (tiny_weights, tiny_weights.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    return tmp_path / tiny_weights.name


def one_line(caught: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert backbone.weights == "tiny" and backbone.weights_sha256 == sha256_of(weights)
    assert backbone.describe()["pretraining"] == {"dataset": "nothing", "recipe": "random", "external": False}
    assert backbone.describe()["changed"] == ["width"]


def test_the_sidecar_knows_its_weights(weights: Path):
    assert sidecar(weights)["weights_sha256"] == sha256_of(weights)
    text = weights.with_suffix(".json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_weights_are_found_by_file_or_shipped_name(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "SHIPPED", weights.parent)
    assert find_weights("conv4", str(weights), "anything") == weights
    assert find_weights("conv4", "tiny", "anything") == weights
    weights.rename(weights.parent / "conv4-birds.safetensors")
    weights.with_suffix(".json").rename(weights.parent / "conv4-birds.json")
    assert find_weights("conv4", None, "birds") == weights.parent / "conv4-birds.safetensors"
    with pytest.raises(UsageError) as caught:
        find_weights("conv4", None, "fish")
    assert one_line(caught) == (
        "no conv4 weights pretrained on fish are shipped; take others with --weights (conv4-birds) "
        "or make some: bench pretrain --dataset fish --backbone conv4"
    )
    with pytest.raises(UsageError, match=r"--weights conv4-bird: no such file .*; did you mean 'conv4-birds'\?"):
        find_weights("conv4", "conv4-bird", "fish")


def not_safetensors(weights: Path) -> None:
    weights.write_bytes(b"PK\x03\x04 something else entirely")


def truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-50])


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def other_width(weights: Path) -> None:
    module = Conv4(width=5).build(3, 16, torch.Generator())
    about = {name: value for name, value in sidecar(weights).items() if name != "weights_sha256"}
    save_weights(weights, module, about)


def other_backbone(weights: Path) -> None:
    describe(weights, backbone="resnet12")


def unknown_parameter(weights: Path) -> None:
    describe(weights, backbone_parameters={"depth": 3})


def no_sidecar(weights: Path) -> None:
    weights.with_suffix(".json").unlink()


def damaged_sidecar(weights: Path) -> None:
    weights.with_suffix(".json").write_text("{")


def empty_sidecar(weights: Path) -> None:
    weights.with_suffix(".json").write_text("{}")


def sidecar_of_another_kind(weights: Path) -> None:
    weights.with_suffix(".json").write_text("[]")


def sidecar_without_preprocess(weights: Path) -> None:
    content = sidecar(weights)
    del content["preprocess"]
    weights.with_suffix(".json").write_text(json.dumps(content))


def describe(weights: Path, **change: object) -> None:
    weights.with_suffix(".json").write_text(json.dumps({**sidecar(weights), **change}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_safetensors, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (truncate, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (empty, r"--weights tiny\.safetensors is not a whole safetensors file: "),
        (other_width, r"--weights tiny\.safetensors do not fit backbone conv4: .*size mismatch"),
        (other_backbone, r"--weights tiny\.safetensors belong to backbone resnet12, not conv4"),
        (unknown_parameter, r"backbone conv4 has no parameter 'depth'; it has width"),
        (no_sidecar, r"--weights .*tiny\.safetensors: needs its description tiny\.json beside it \(.*No such file"),
        (damaged_sidecar, r"--weights .*tiny\.safetensors: needs its description tiny\.json beside it \("),
        *(
            pytest.param(
                spoil,
                r"--weights .*tiny\.safetensors: .*tiny\.json",
                marks=pytest.mark.xfail(strict=True, reason="keys are not checked"),
            )
            for spoil in (empty_sidecar, sidecar_of_another_kind, sidecar_without_preprocess)
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_weights_are_one_line_that_names_them(weights: Path, spoil, message: str):
    spoil(weights)
    with pytest.raises(UserError, match=message) as caught:
        load_backbone("conv4", {}, weights)
    one_line(caught)


def test_a_parameter_that_the_weights_do_not_fit_is_told(weights: Path):
    with pytest.raises(UserError, match=r"--weights tiny\.safetensors do not fit backbone conv4: ") as caught:
        load_backbone("conv4", {"width": "16"}, weights)
    one_line(caught)


@pytest.mark.parametrize("name", sorted(loading.shipped_weights()))
def test_shipped_weights_load_and_say_how_they_were_made(name: str):
    path = loading.shipped_weights()[name]
    about = sidecar(path)
    backbone = load_backbone(about["backbone"], {}, path)
    assert name == f"{backbone.name}-{about['pretraining']['dataset']}"
    assert about["weights_sha256"] == backbone.weights_sha256
    assert about["pretraining"]["split"] == "train" and not about["pretraining"]["external"]
    assert about["made_by"]["command"].startswith("bench pretrain ") and about["made_by"]["config"]["seed"] is not None
    assert about["val_accuracy"]["mean"] > 1 / about["val_accuracy"]["ways"]
    assert path.stat().st_size < 1_000_000
