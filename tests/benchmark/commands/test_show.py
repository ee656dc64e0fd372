import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from fewbench.benchmark import RunConfig
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.tuning import SCOPES
from fewbench.benchmark.backbones.weights.checkpoint import weights_sha256
from fewbench.benchmark.backbones.weights.find import shipped_weights
from fewbench.benchmark.backbones.weights.loading import make_backbone
from fewbench.benchmark.commands.main import app
from fewbench.benchmark.evaluation.runner import run
from fewbench.benchmark.features.throughput import flops_per_image
from fewbench.benchmark.records.store import write_record
from fewbench.core.errors import UsageError, UserError
from fewbench.core.progress import SILENT


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("conv4", "113,088", "1600 of an image of 84×84 pixels"),
        ("resnet12", "12,424,320", "640 of an image of 84×84 pixels"),
        ("timm:test_efficientnet", "99,196", "256 of an image of 160×160 pixels"),
    ],
)
def test_a_backbone_is_shown_with_its_size_and_features(name: str, parameters: str, features: str):
    shown = printed("show", "backbone", name)
    assert shown.startswith(f"backbone {name} (from fewbench)\n")
    assert f"network parameters: {parameters}\n" in shown and f"features: {features}\n" in shown


def test_a_backbone_is_shown_with_its_cost_and_what_can_be_tuned():
    shown = printed("show", "backbone", "conv4")
    maps = {84: 3 * 64, 42: 64 * 64, 21: 64 * 64, 10: 64 * 64}  # width of the map, and products of channels
    flops = 2 * sum(9 * products * width**2 for width, products in maps.items())
    assert f"FLOPs of such an image: {flops:,} (a multiplication with its addition counts as two)\n" in shown
    lines = [line.split() for line in shown.splitlines()]
    table = dict(cells for cells in lines if len(cells) == 2 and cells[0] in SCOPES)
    last = 9 * 64 * 64 + 64 + 2 * 64
    lora = 8 * (9 * 3 + 64) + 3 * 8 * (9 * 64 + 64)
    in_layers = {"norm": "512", "last-block": f"{last:,}", "lora": f"{lora:,}", "full": "113,088"}
    assert table == {"none": "0", "head": "0", "prompt": "-", "prompt-pool": "-"} | in_layers


def test_the_prompts_of_a_transformer_are_counted():
    shown = printed("show", "backbone", "vit", "--set", "size=16", "--set", "depth=2", "--set", "width=16")
    table = dict(cells for cells in map(str.split, shown.splitlines()) if len(cells) == 2 and cells[0] in SCOPES)
    assert (table["prompt"], table["prompt-pool"]) == (str(2 * 10 * 16), str(10 * (5 * 16 + 16)))


def test_a_backbone_is_shown_as_it_is_set():
    shown = printed("show", "backbone", "conv4", "--set", "width=32", "--set", "norm=group", "--set", "size=32")
    assert "set: width=32, norm=group, size=32\n" in shown
    assert "network parameters: 28,896\n" in shown and "features: 128 of an image of 32×32 pixels\n" in shown
    with pytest.raises(UsageError, match=r"^backbone conv4 has no parameter 'widht'; did you mean 'width'\?"):
        printed("show", "backbone", "conv4", "--set", "widht=32")
    with pytest.raises(UsageError, match=r"^--set is for bench show backbone NAME; protonet is a method$"):
        printed("show", "protonet", "--set", "width=32")
    with pytest.raises(UsageError, match=r"^--set is for bench show backbone NAME; a file has its settings$"):
        printed("show", "record.json", "--set", "width=32")


@pytest.mark.parametrize("arguments", [["timm:resnet81"], ["timm:vit_tiny_patch16_224", "--set", "size=100"]])
def test_nothing_is_printed_before_an_error(arguments: list[str]):
    result = CliRunner().invoke(app, ["show", "backbone", *arguments])
    assert isinstance(result.exception, UserError) and result.stdout == ""


def test_attention_is_in_the_cost_of_a_transformer():
    backbone = make_backbone("timm:vit_tiny_patch16_224", {"img_size": 32, "depth": 1})
    module = backbone.build(3, 32, torch.Generator()).eval()
    tokens, width = 5, 192
    patches, qkv, products, out = 4 * 3 * 16**2 * width, 3 * tokens * width**2, 2 * tokens**2 * width, tokens * width**2
    perceptron = 2 * tokens * width * 4 * width
    assert flops_per_image(module, backbone.preprocess()) == 2 * (patches + qkv + products + out + perceptron)


def test_a_name_of_a_family_is_known_without_its_kind():
    assert "any keyword argument of timm.create_model is a parameter" in printed("show", "timm:test_efficientnet")
    with pytest.raises(UsageError, match=r"did you mean 'test_efficientnet'\?$"):
        printed("show", "timm:test_eficientnet")
    with pytest.raises(UsageError, match="nothing is called 'tim:resnet18'"):
        printed("show", "tim:resnet18")


def test_backbones_are_listed_with_the_family_of_timm():
    listed = printed("list", "backbones")
    assert "timm:NAME" in listed and "Any model of timm" in listed


def test_a_record_of_foreign_weights_says_so(tiny: str, tmp_path: Path):
    torch.save(Conv4(width=4).build(3, 16, torch.Generator()).state_dict(), tmp_path / "w.pt")
    settings = {"backbone.width": 4, "backbone.size": 16}
    config = RunConfig(dataset=tiny, weights=str(tmp_path / "w.pt"), settings=settings, episodes=5, results=tmp_path, queries=5)
    shown = printed("show", str(run(config, SILENT).path))
    assert "unknown on unknown, external" in shown
    assert re.search(r"^images +version \S.*, fingerprint [0-9a-f]{64} *$", shown, re.MULTILINE)


def test_a_record_of_semantic_tasks_is_shown_with_its_accuracy_by_coarsity(make_record, coarse, tmp_path: Path):
    # Pairs of episodes by coarsity (10, 20), (30, 40), (50, 60), (70, 80) with accuracies 0.5 ± 0.1, 0.6 ± 0, 0.7 ± 0.02 and
    # 0.9 ± 0, ten times each: half-widths t(0.975, 19) · d · √(20/19) / √20 = 0.480173 · d.
    accuracies = [0.4, 0.9, 0.6, 0.6, 0.9, 0.6, 0.72, 0.68] * 10
    record = make_record(accuracies, task=coarse([20, 70, 10, 30, 80, 40, 60, 50] * 10))
    write_record(record, tmp_path / "a.json")
    shown = printed("show", str(tmp_path / "a.json"))
    assert "50.00 ± 4.80, 60.00 ± 0.00, 70.00 ± 0.96, 90.00 ± 0.00 (the most fine-grained tasks first)" in shown


def test_weights_say_what_they_are():
    path = shipped_weights()["conv4-trifeature"]
    shown = printed("show", str(path))
    assert f"sha256          {weights_sha256(path)}" in shown
    assert "pretraining     supervised on trifeature" in shown and "val accuracy %  80.58" in shown


def test_weights_without_a_description_say_so(tmp_path: Path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    assert "none: this file was not made by fewbench" in printed("show", str(tmp_path / "w.safetensors"))
