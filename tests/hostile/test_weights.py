"""Weights as other people's trainings save them, and descriptions that are damaged: read where that is clear, else one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.weights.find import described_checkpoint, find_weights
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.core.errors import UserError

LONGEST = 500  # characters of a message
STATE = dict(Conv4(width=8).build(3, 16, torch.Generator().manual_seed(0)).state_dict())
HALF = {name: value / 2 if value.is_floating_point() else value for name, value in STATE.items()}
SETTINGS = {"width": 8, "size": 16}
ABOUT: dict[str, Any] = {
    "backbone": "conv4",
    "backbone_parameters": {"width": 8},
    "preprocess": {"channels": 3, "size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "pretraining": {"dataset": "nothing", "recipe": "random", "external": False},
    "method": {"name": "protonet", "parameters": {}, "ways": 5},
}


def under(prefix: str, state: Mapping[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


OTHER = {"conv.weight": torch.ones(5, 5), "conv.bias": torch.ones(5)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
READ = {
    "model_sd": {"model": "classifier", "model_sd": under("encoder.")},
    "model_state_dict": {"epoch": 3, "model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER},
    "state": {"state": STATE, "best": torch.tensor(0.5)},
    "two levels": {"checkpoint": {"network": STATE}},
    "the one that fits": {"head": OTHER, "net": STATE},
    "a usual name that does not fit": {"model": OTHER, "ema": STATE},
    "torch.compile": under("_orig_mod."),
    "DataParallel of a compiled network": under("module._orig_mod."),
    "a compiled part": {name.replace("0.0.", "0._orig_mod.0.", 1): value for name, value in STATE.items()},
    "Lightning": {"state_dict": {**under("model.net."), "loss.weight": torch.ones(2)}, "hyper_parameters": {"lr": 0.1}},
    "an unknown wrapper": under("learner.student.module.backbone."),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_the_network_is_found_under_whatever_name(content: dict, tmp_path: Path):
    torch.save(content, tmp_path / "w.pth")
    module = load_backbone("conv4", SETTINGS, tmp_path / "w.pth").module
    assert all(torch.equal(value, STATE[name]) for name, value in module.state_dict().items())


def test_of_two_that_fit_the_usual_one_is_taken_and_the_other_by_its_name(tmp_path: Path, listener):
    torch.save({"state_dict_ema": HALF, "state_dict": STATE}, tmp_path / "w.pth")
    key = f"{tmp_path / 'w.pth'}#state_dict_ema"
    usual = load_backbone("conv4", SETTINGS, tmp_path / "w.pth", listener)
    assert listener.said[0].endswith("; taken is state_dict, other networks by --weights w.pth#state_dict_ema")
    other = load_backbone("conv4", SETTINGS, find_weights("conv4", key, "any"))
    named = load_backbone("conv4", SETTINGS, Path(f"{tmp_path / 'w.pth'}#state_dict"))
    for loaded, state in ((usual, STATE), (other, HALF), (named, STATE)):
        assert torch.equal(loaded.module.state_dict()["0.0.weight"], state["0.0.weight"])
    assert usual.weights_sha256 == named.weights_sha256 != other.weights_sha256
    assert (usual.weights, other.weights) == ("w", "w#state_dict_ema")


@pytest.mark.parametrize("content", [{"teacher": STATE, "student": HALF}, {**under("teacher."), **under("student.", HALF)}])
def test_of_two_without_a_usual_name_one_has_to_be_named(content: dict, tmp_path: Path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"; take --weights w\.pth#teacher or --weights w\.pth#student$"):
        load_backbone("conv4", SETTINGS, tmp_path / "w.pth")
    for key, state in (("teacher", STATE), ("student", HALF)):
        loaded = load_backbone("conv4", SETTINGS, Path(f"{tmp_path / 'w.pth'}#{key}"))
        assert torch.equal(loaded.module.state_dict()["3.0.weight"], state["3.0.weight"])


def changed(name: str, value: Tensor) -> dict[str, Tensor]:
    return {**STATE, name: value}


WEIGHT, SHAPE = "1.0.weight", STATE["1.0.weight"].shape
REFUSED = {
    "names of the file": ({"a.weight": torch.ones(2), "b": torch.ones(2)}, r"the file has a\.weight, b$"),
    "no tensors": ({"epoch": 3, "args": {"lr": 0.1}}, r"holds no weights \(it has epoch, args\); save a state dict"),
    "meta": (
        changed(WEIGHT, torch.empty(SHAPE, device="meta")),
        r"1\.0\.weight is without numbers \(on the device meta\); save",
    ),
    "sparse": (changed(WEIGHT, torch.zeros(SHAPE).to_sparse()), r"1\.0\.weight is sparse coo; save dense tensors"),
    "float8": (changed(WEIGHT, torch.zeros(SHAPE).to(torch.float8_e4m3fn)), r"1\.0\.weight is float8_e4m3fn; save dense"),
    "complex": (changed(WEIGHT, torch.zeros(SHAPE, dtype=torch.complex64)), r"1\.0\.weight is complex64; save dense tensors"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_other_files_are_one_line(content: dict, says: str, tmp_path: Path):
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", says)


def test_float8_safetensors_are_one_line(tmp_path: Path):
    save_file(REFUSED["float8"][0], tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", r"1\.0\.weight is float8_e4m3fn")


def test_a_key_that_is_not_there_names_those_that_are(tmp_path: Path):
    torch.save({"model": STATE, "ema": HALF}, tmp_path / "w.pth")
    refused(Path(f"{tmp_path / 'w.pth'}#emma"), r"w\.pth#emma: the file has no network of that name; it has model, ema$")


def refused(path: Path, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        load_backbone("conv4", SETTINGS, path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < LONGEST and path.name in str(caught.value)


def section(which: str, /, **values: Any) -> str:
    return json.dumps({**ABOUT, which: {**ABOUT[which], **values}})


DESCRIPTIONS = {
    "no JSON": ("{", "cannot be read"),
    "deep": ("[" * 100_000, "is nested too deeply"),
    "deep inside": (section("pretraining", more=json.loads("[" * 50 + "]" * 50)), "nested too deeply"),
    "a list": ("[]", "is not a section"),
    "5,000 digits": (section("preprocess").replace("16", "9" * 5_000), "cannot be read"),
    "NaN": (section("pretraining", seconds=float("nan")), "pretraining.seconds is not a finite number"),
    "half a character": (json.dumps({**ABOUT, "backbone": "\ud800"}), "backbone is not Unicode text"),
    "channels": (section("preprocess", channels=-1), "preprocess.channels=-1: 1 or 3"),
    "many channels": (section("preprocess", channels=10**9), "preprocess.channels=1000000000: 1 or 3"),
    "size": (section("preprocess", size=10**9), "preprocess.size=1000000000: 1 to 4,096"),
    "size of a fraction": (section("preprocess", size=16.5), "preprocess.size is not a whole number"),
    "no mean": (section("preprocess", mean=[]), "preprocess.mean=nothing: one finite number or 3"),
    "four means": (section("preprocess", mean=[0.5] * 4), "preprocess.mean=0.5, 0.5, 0.5, 0.5: one"),
    "null means": (section("preprocess", mean=[None] * 3), r"preprocess.mean\[0\] is not a number"),
    "text": (section("preprocess", std=["a"] * 3), r"preprocess.std\[0\] is not a number"),
    "infinite": (section("preprocess", mean=[1e308 * 10] * 3), r"preprocess.mean\[0\] is not a finite number"),
    "negative": (section("preprocess", std=[-1, 1, 1]), "preprocess.std=-1, 1, 1: above 0"),
    "zero": (section("preprocess", std=[0, 0, 0]), "preprocess.std=0, 0, 0: above 0"),
    "width": (json.dumps({**ABOUT, "backbone_parameters": {"width": 10**9}}), "width=1000000000: at most 4,096"),
    "parameters": (json.dumps({**ABOUT, "backbone_parameters": []}), "backbone_parameters is not a section"),
    "history": (json.dumps({**ABOUT, "pretraining": None}), "pretraining is not a section"),
    "external": (section("pretraining", external="no"), "pretraining.external is not true or false"),
    "method's name": (section("method", name=1), "method.name is not text"),
    "method without a name": (section("method", name=None), "method.name is not text"),
    "method's parameters": (section("method", parameters=[]), "method.parameters is not a section"),
    "no parameters of the method": (section("method", parameters=None), "method.parameters is not a section"),
    "ways": (section("method", ways=10**9), "method.ways=1000000000: 1 to 100,000"),
}


@pytest.mark.parametrize("inside", [True, False], ids=["in the file", "beside it"])
@pytest.mark.parametrize(("text", "says"), DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_damaged_description_is_one_line(text: str, says: str, inside: bool, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file(STATE, path, metadata={"fewbench": text} if inside else None)
    if not inside:
        path.with_suffix(".json").write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        described_checkpoint(path)
        load_backbone("conv4", {}, path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < LONGEST


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text, ""),
        (lambda text: text.replace('"width": 8', '"width": 9'), "says something else; remove own.json"),
        (lambda text: text.replace('"std"', '"st"'), "own.json beside it"),
        (lambda text: "[" * 100_000, "own.json beside it"),
    ],
    ids=["the same", "another width", "damaged", "deep"],
)
def test_a_description_beside_a_file_that_has_its_own(change, says: str, bench, tiny, tiny_weights, tmp_path: Path):
    with safe_open(tiny_weights, "pt") as file:
        inside = file.metadata()["fewbench"]
    (tmp_path / "own.safetensors").write_bytes(tiny_weights.read_bytes())
    (tmp_path / "own.json").write_text(change(inside))
    done = bench("run", "--dataset", tiny, "--weights", tmp_path / "own.safetensors", "--queries", "5", "--dry-run")
    assert says in done.message if says else done.code == 0
