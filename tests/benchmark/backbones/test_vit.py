from pathlib import Path
from typing import Any, cast

import pytest
import torch
from timm.models.vision_transformer import Block

from fewbench.benchmark.backbones.base import TokenBlocks
from fewbench.benchmark.backbones.vit import ViT
from fewbench.benchmark.backbones.weights.loading import load_backbone, make_backbone
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import pretrain
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT

SMALL = {"width": 16, "depth": 2, "heads": 2}


def build(channels: int = 3, size: int = 16, **parameters: Any) -> torch.nn.Module:
    return ViT(**{**SMALL, **parameters}).build(channels, size, torch.Generator().manual_seed(0)).eval()


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28)])
def test_its_size_is_that_of_the_formula(channels: int, size: int):
    module, width, depth, patch = build(channels, size, width=24, depth=3, heads=3), 24, 3, 4
    with torch.no_grad():
        features = module(torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, width) and not torch.equal(features[0], features[1])
    embedding = channels * patch**2 * width + width + (size // patch) ** 2 * width
    block = 2 * 2 * width + (3 * width**2 + 3 * width) + (width**2 + width) + (8 * width**2 + 5 * width)
    assert sum(parameter.numel() for parameter in module.parameters()) == embedding + depth * block + 2 * width
    blocks = [block for block in module.modules() if isinstance(block, Block)]
    assert len(blocks) == depth and all(block.attn.num_heads == 3 for block in blocks)


def test_every_patch_has_its_part_in_the_feature():
    module, image = build(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.randn(16, generator=torch.Generator().manual_seed(1))
    (module(image) @ weights).sum().backward()
    assert image.grad is not None
    patches = image.grad[0].unfold(1, 4, 4).unfold(2, 4, 4).abs().sum(dim=(0, 3, 4))  # [4, 4]
    assert (patches > 0.1 * patches.mean()).all()


def test_its_blocks_and_the_last_of_them():
    backbone = make_backbone("vit", SMALL)
    module = backbone.build(3, 16, torch.Generator())
    assert backbone.token_blocks(module) == TokenBlocks(("blocks.0", "blocks.1"), width=16, features=16)
    expected = {name for name, _ in module.named_parameters() if name.startswith(("blocks.1.", "fc_norm."))}
    assert backbone.last_block(module) == expected and "fc_norm.weight" in expected


def test_what_cannot_be_built_is_told():
    for name in ("patch", "width", "depth", "heads"):
        with pytest.raises(UsageError, match=rf"^ViT: {name}=0: at least 1$"):
            ViT(**cast(Any, {name: 0}))
    with pytest.raises(UsageError, match=r"^backbone vit: width=10 is not divided by heads=4$"):
        ViT(width=10)
    with pytest.raises(UsageError, match=r"^backbone vit: images of 30 pixels are no multiple of patch=4$"):
        build(size=30)


@pytest.mark.parametrize("recipe", ["supervised", "simclr", "dino"])
def test_it_can_be_pretrained_and_tuned(recipe: str, tiny: str, tmp_path: Path):
    settings = {f"backbone.{name}": value for name, value in SMALL.items()}
    config = PretrainConfig(
        dataset=tiny, backbone="vit", recipe=recipe, epochs=2, batch_size=60, device="cpu", settings=settings
    )
    path = pretrain(config, tmp_path / "weights.safetensors", SILENT)
    loaded = load_backbone("vit", {}, path, tune="prompt")
    assert loaded.feature_dim == 16 and loaded.pretraining.recipe == recipe and not loaded.pretraining.external
    assert {name for name, value in loaded.module.named_parameters() if value.requires_grad} == {"prompts"}
