"""Masked image modelling: what is hidden, the loss by loops in float64, and that hidden pixels are not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, nn

from fewbench.benchmark.backbones.vit import ViT
from fewbench.benchmark.training.loop.learner import Part
from fewbench.benchmark.training.pretrain_config import PretrainConfig
from fewbench.benchmark.training.pretraining import pretrain
from fewbench.benchmark.training.recipes.base import Material
from fewbench.benchmark.training.recipes.masked import Masked, error_of_hidden, hidden_patches, patches_of
from fewbench.core.errors import UsageError
from fewbench.core.progress import SILENT


@pytest.mark.parametrize(("square", "share", "hidden"), [(1, 0.5, 8), (2, 0.5, 8), (2, 0.6, 12), (4, 0.1, 16), (1, 1.0, 16)])
def test_whole_squares_are_hidden_as_many_in_each_image(square: int, share: float, hidden: int) -> None:
    chosen = hidden_patches(50, 4, square, share, Generator().manual_seed(0))
    assert (chosen.sum(dim=1) == hidden).all()
    squares = chosen.view(50, 4 // square, square, 4 // square, square).transpose(2, 3).flatten(3)
    assert (squares.all(dim=3) == squares.any(dim=3)).all()
    assert hidden == 16 or len(chosen.unique(dim=0)) > 3


def test_the_loss_is_the_formula() -> None:
    images = torch.randn(3, 2, 6, 6, generator=Generator().manual_seed(0), dtype=torch.float64)
    predicted = torch.randn(3, 4, 18, generator=Generator().manual_seed(1), dtype=torch.float64)
    hidden = torch.tensor([[True, False, True, True], [False, True, False, False], [False, False, False, True]])
    errors = []
    for image in range(3):
        for patch in range(4):
            if hidden[image, patch]:
                top, left = 3 * (patch // 2), 3 * (patch % 2)
                pixels = images[image, :, top : top + 3, left : left + 3].reshape(-1).numpy()
                errors.extend(np.abs(predicted[image, patch].numpy() - pixels))
    found = error_of_hidden(predicted, patches_of(images, 3), hidden)
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-12)


@pytest.mark.parametrize("class_token", [False, True])
def test_hidden_pixels_are_predicted_from_the_others_alone(class_token: bool, material: Material, learner_of) -> None:
    learner = learner_of("masked", material).double().eval()
    if class_token:  # a transformer as timm has it by default
        learner.backbone = _with_class_token().double().eval()
    images, hidden = learner.batch(0, Part())
    images = images.double()
    pixels = hidden.view(-1, 1, 4, 4).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    seen: list[torch.Tensor] = []
    learner.head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    before = learner((images, hidden))[0]
    learner((torch.where(pixels, images + 1, images), hidden))
    learner((torch.where(pixels, images, images + 1), hidden))
    assert torch.equal(seen[0], seen[1]) and not torch.allclose(seen[0], seen[2])
    expected = (seen[0] - patches_of(images, 4)).abs()[hidden].mean()
    assert before.item() == pytest.approx(expected.item(), rel=1e-6)
    assert learner.backbone(images).shape == (24, 16)  # features, with nothing hidden


def _with_class_token() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=16, patch_size=4, num_classes=0, embed_dim=16, depth=1, num_heads=2)


def test_all_backbones_but_transformers_are_refused(material: Material, learner_of, tiny: str, tmp_path: Path) -> None:
    quick = PretrainConfig(dataset=tiny, recipe="masked", epochs=1, batch_size=60, device="cpu")
    with pytest.raises(UsageError, match=r"^recipe masked hides patches of a vision transformer; take --backbone vit"):
        pretrain(quick, tmp_path / "weights.safetensors", SILENT)
    assert not [*tmp_path.iterdir()]
    with pytest.raises(UsageError, match=r"^recipe\.square=3: it does not divide the 4 patches of an image's side$"):
        learner_of("masked", material, square=3)


def test_the_layer_of_another_recipe_is_not_trained_here(material: Material) -> None:
    """`backbone.projection` of a transformer stands behind the features; this recipe does not come by it."""
    module = ViT(width=16, depth=1, heads=2, projection=8).build(3, 16, Generator().manual_seed(0))
    assert module(torch.zeros(2, 3, 16, 16)).shape == (2, 8)
    with pytest.raises(UsageError, match=r"recipe masked trains no layer behind the features; leave backbone\.projection out"):
        Masked().learner(replace(material, backbone=module, width=8))
