"""A backbone's `version` is raised whenever the features change that the same weights give.

`known_features.json` holds a few of them by name and version. After an intended change, raise `version` in the class and run

    RECORD_NUMBERS=1 pytest tests/benchmark/backbones/test_versions.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fewbench.benchmark import registry
from fewbench.benchmark.built_in import BUILT_IN

KNOWN = Path(__file__).with_name("known_features.json")
QUICK = {"resnet12": {"width": 8}, "vit": {"depth": 2, "width": 48, "heads": 2}}
SIZES = {"clip-tiny": 64}


# The networks of a family, such as timm:NAME, are somebody else's code, and EfficientNet-Lite's are timm's.
OWN = sorted(name for name in BUILT_IN["backbones"] if not name.endswith(":NAME") and "efficientnet" not in name)


@pytest.mark.parametrize("name", OWN)
def test_the_version_is_raised_where_the_features_change(name: str, same_as_known):
    cls, size = registry.load(registry.find("backbones", name)), SIZES.get(name, 32)
    network = cls(**QUICK.get(name, {})).build(3, size, torch.Generator().manual_seed(0)).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = network(images).double().flatten()
    places = torch.linspace(0, len(features) - 1, 6).long()
    numbers = [features.abs().mean().item(), *features[places].tolist()]
    same_as_known(KNOWN, name, cls.version, {"features": [float(f"{number:.6g}") for number in numbers]})
