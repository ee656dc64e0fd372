import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Generator

from fewbench.benchmark import registry
from fewbench.benchmark.backbones.base import Preprocess
from fewbench.benchmark.backbones.clip.clip_tiny import ClipTiny
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.vit import ViT
from fewbench.benchmark.records.answerer import Pretraining
from fewbench.benchmark.text.captions import Captions
from fewbench.benchmark.training.recipes import find_recipe
from fewbench.benchmark.training.recipes.base import ImageLearner, Material
from fewbench.benchmark.training.recipes.teacher import RecipeWithTeacher, Teacher
from fewbench.benchmark.training.train_images import TrainImages
from fewbench.core.options import build


@pytest.fixture(scope="session")
def toy(plugins: Path) -> ModuleType:
    """The module with the toy learner."""
    spec = importlib.util.spec_from_file_location("toy_training", plugins / "toy_training.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def material(tiny: str) -> Material:
    """A small Conv-4, and batches of 24 of the images of `tiny`."""
    generator, split = Generator().manual_seed(0), registry.load(registry.find("datasets", tiny))().split("train")
    return Material(
        backbone=Conv4(width=8).build(3, 16, generator),
        width=8,
        images=TrainImages(split, 24, 0, torch.device("cpu")),
        classes=12,
        preprocess=Preprocess(3, 16, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)),
        crop=1,
        flip=True,
        steps=40,
        generator=generator,
    )


@pytest.fixture(scope="session")
def learner_of() -> Callable[..., ImageLearner]:
    """A function that makes the learner of a recipe, with the network and whatever else the recipe needs."""

    def make(name: str, material: Material, **values: object) -> ImageLearner:
        recipe, seeded = build(find_recipe(name), values, name), Generator().manual_seed(0)
        if recipe.reads_text:
            material = _with_texts(material)
        if name == "masked":
            module = ViT(width=16, depth=1, heads=2).build(3, 16, seeded)
            material = replace(material, backbone=module, width=16)
        if settings := recipe.backbone_settings():
            module = Conv4(width=8, **settings).build(3, 16, seeded)
            material = replace(material, backbone=module, width=settings["projection"])
        if isinstance(recipe, RecipeWithTeacher):
            right = torch.nn.functional.one_hot(material.images.labels).float()
            scores = 4 * right + torch.randn(right.shape, generator=seeded)
            material = replace(material, teacher=Teacher(Pretraining("tiny", "none", external=False), lambda: scores))
        learner = recipe.learner(material)
        assert isinstance(learner, ImageLearner)
        return learner

    return make


def _with_texts(material: Material) -> Material:
    """The same images, said to be of twelve classes, and a network that reads."""
    captions = Captions(
        phrases=tuple(f"pattern {letter}" for letter in "abcdefghijkl"),
        templates=("a photo of a {}.", "{}"),
        of_image=material.images.labels,
        choices=torch.arange(12)[:, None],
        whole=1.0,
    )
    backbone = ClipTiny().dual_encoder(3, 64, Generator().manual_seed(0))
    preprocess = replace(material.preprocess, size=64)
    return replace(material, backbone=backbone, width=64, preprocess=preprocess, captions=captions)
