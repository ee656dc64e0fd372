from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.evaluation import checks, plan
from fewbench.benchmark.evaluation.plan import make_plan
from fewbench.core.errors import UsageError

NOT_USUAL: list[tuple[dict[str, Any], str]] = [
    ({"precision": "bf16"}, "--precision bf16"),
    ({"compile": True}, "--compile"),
    ({"batch_size": 64}, "--batch-size 64"),
]


@pytest.mark.parametrize(("change", "option"), NOT_USUAL)
def test_a_method_on_images_takes_no_option_of_encoding(config: RunConfig, plugins: Path, change: dict[str, Any], option: str):
    name = f"{plugins / 'methods.py'}:OnImages"
    with pytest.raises(UsageError) as caught:
        make_plan(replace(config, method=name, **change))
    assert str(caught.value) == f"{option}: {name} works on images, and none are encoded beforehand; leave it out"
    assert make_plan(replace(config, method=name)).inputs == "images"


@pytest.mark.parametrize(("change", "option"), NOT_USUAL)
def test_a_method_on_features_takes_them(config: RunConfig, change: dict[str, Any], option: str):
    found = make_plan(replace(config, method="finetune", tune="head", **change))
    assert found.inputs == "features" and {**vars(found.encoding), **change} == vars(found.encoding)
    with pytest.raises(UsageError, match=f"^{option}: finetune with --tune full works on images"):
        make_plan(replace(config, method="finetune", tune="full", **change))


def test_a_precision_that_the_device_lacks_is_refused_before_weights_are_looked_for(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checks, "choose_device", lambda name: torch.device("cpu"))
    monkeypatch.delattr(plan, "find_weights")
    with pytest.raises(UsageError, match="--precision tf32: only CUDA devices have it"):
        make_plan(replace(config, precision="tf32"))


def test_the_backbones_code_is_in_the_record_and_not_in_its_name(config: RunConfig):
    found = make_plan(config)
    other = replace(found, backbone=replace(found.backbone, code="version 2"))
    assert other.backbone_section().code == "version 2" != found.backbone_section().code
    assert other.path() == found.path()
