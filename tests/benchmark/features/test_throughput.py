from pathlib import Path

import pytest
import torch
from torch import nn

from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.weights.loading import load_backbone
from fewbench.benchmark.features.throughput import closing_line, flops_per_image, matrix_rate

CPU = torch.device("cpu")


def test_a_multiplication_with_an_addition_counts_two():
    network = nn.Sequential(nn.Conv2d(3, 5, kernel_size=3, padding=1), nn.Flatten(), nn.Linear(5 * 8 * 8, 7))
    flops = 2 * (8 * 8) * (3 * 3 * 3) * 5 + 2 * (5 * 8 * 8) * 7
    assert flops_per_image(network, Preprocess(3, 8, (0.5,) * 3, (0.5,) * 3)) == flops


def test_a_processor_multiplies_matrices():
    assert 1e8 < matrix_rate(CPU, "fp32") < 1e14


def test_the_share_is_of_the_matrix_rate(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch):
    backbone = load_backbone("conv4", {}, tiny_weights)
    flops = flops_per_image(backbone.module, backbone.preprocess)
    monkeypatch.setattr("fewbench.benchmark.features.throughput.matrix_rate", lambda device, precision: 4000.0 * flops)
    line = closing_line(backbone, CPU, "fp32", 3000, 1.5)
    assert line.startswith("encoded 3,000 images at 2,000 images/s") and ": 50 % of the" in line
