import io
from typing import Any

import numpy as np
import pytest
from open_clip import image_transform
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import get_pretrained_cfg

from fewbench.benchmark.backbones.clip.open_clip_backbone import OpenClipBackbone
from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.efficientnet_lite import EfficientNetLite0
from fewbench.benchmark.backbones.timm_backbone import TimmBackbone
from fewbench.tasks.datasets.reading.image_files import Square, decode


def photo(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height // 9, width // 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def made_square(image: Image.Image, square: Square) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, "PNG")
    return decode(file.getvalue(), square)


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "resnet18.tv_in1k", "mobilenetv2_100"])
@pytest.mark.parametrize("sides", [(400, 301), (97, 333), (256, 256), (224, 224), (30, 20)])
def test_photos_become_square_as_in_the_evaluation_of_timm(model, sides):
    data = resolve_data_config({}, pretrained_cfg=get_pretrained_cfg(model).to_dict())
    theirs: Any = create_transform(
        data["input_size"], interpolation=data["interpolation"], crop_pct=data["crop_pct"], crop_mode=data["crop_mode"]
    )
    image = photo(*sides)
    expected = np.asarray(theirs.transforms[1](theirs.transforms[0](image)))  # resized, cut out
    backbone = TimmBackbone(model)
    np.testing.assert_array_equal(made_square(image, backbone.square(backbone.preprocess().size)), expected)


@pytest.mark.parametrize("sides", [(400, 301), (97, 333), (256, 256), (224, 224)])
def test_photos_become_square_as_in_the_evaluation_of_open_clip(sides):
    theirs: Any = image_transform(224, is_train=False)
    image = photo(*sides)
    expected = np.asarray(theirs.transforms[1](theirs.transforms[0](image)))
    square = OpenClipBackbone.from_name("open_clip:ViT-B-32/openai", {}).square(224)
    np.testing.assert_array_equal(made_square(image, square), expected)


def test_the_share_is_that_of_the_model():
    assert EfficientNetLite0().square(224) == Square(224, "crop", "bicubic", 0.875)
    assert Conv4().square(84) == Square(84, "crop", "bicubic", 1.0)
