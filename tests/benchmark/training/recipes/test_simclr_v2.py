"""The layer that SimCLR v2 keeps: its loss through three layers, and the network with it after the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import plan_of, pretrain
from fewbench.benchmark.training.recipes.base import Material
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT


def test_the_loss_is_that_of_three_layers(material: Material, learner_of) -> None:
    learner = learner_of("simclr-v2", material, hidden=20, width=6, temperature=0.3).double().train()
    batch = learner.batch(0, Part()).double()
    layers = [layer for layer in (*learner.backbone[-1], *learner.head)]
    assert [type(layer).__name__ for layer in layers if isinstance(layer, nn.Linear)] == ["Linear", "_Linear", "_Linear"]
    with torch.no_grad():
        x = learner.backbone[:-1](batch).numpy()  # what the convolutions give
        for layer in layers:
            if isinstance(layer, nn.Linear):
                bias = 0 if layer.bias is None else layer.bias.numpy()
                x = x @ layer.weight.numpy().T + bias
            elif isinstance(layer, nn.BatchNorm1d):
                x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.eps)
            else:
                x = np.maximum(x, 0)
        found = learner(batch)[0].item()
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    similar = np.exp(z @ z.T / 0.3)
    np.fill_diagonal(similar, 0)
    partner = np.roll(np.arange(48), 24)
    expected = -np.log(similar[np.arange(48), partner] / similar.sum(axis=1)).mean()
    assert found == pytest.approx(expected, rel=1e-5)  # the learner compares in float32


@pytest.fixture
def quick(tiny: str) -> PretrainConfig:
    settings = {"backbone.width": 8, "recipe.hidden": 24}
    return PretrainConfig(dataset=tiny, recipe="simclr-v2", epochs=1, batch_size=60, device="cpu", settings=settings)


def test_the_first_layer_stays_with_the_network(quick: PretrainConfig, tmp_path: Path) -> None:
    path = pretrain(quick, tmp_path / "weights.safetensors", SILENT)
    loaded = load_backbone("conv4", {}, path)
    assert loaded.recipe.changed == ["width", "projection"] and loaded.feature_dim == 24
    features = loaded.module(torch.rand(5, 3, 16, 16))
    assert features.shape == (5, 24) and features.min() == 0  # behind a ReLU
    before = loaded.module[:-1](torch.rand(5, 3, 16, 16))  # type: ignore[index]
    assert before.shape == (5, 8)


def test_a_width_of_the_user_s_counts(quick: PretrainConfig) -> None:
    plan = plan_of(replace(quick, settings={**quick.settings, "backbone.projection": 32}), SILENT)
    assert plan.backbone.parameters["projection"] == 32


def test_a_backbone_without_such_a_layer_is_refused(quick: PretrainConfig) -> None:
    said = r"^recipe simclr-v2 sets backbone\.projection, which relation-encoder lacks; take conv4, resnet12 or vit$"
    with pytest.raises(UsageError, match=said):
        plan_of(replace(quick, backbone="relation-encoder", settings={}), SILENT)
