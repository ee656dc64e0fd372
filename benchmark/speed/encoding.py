"""How fast backbones encode: stored images of 84 pixels, read, resized and sent through the network, in each runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ...core.errors import UsageError
from ...core.progress import Progress
from .. import registry
from ..backbones.base import initial_network
from ..backbones.weights.description import UNKNOWN
from ..backbones.weights.loading import LoadedBackbone
from ..features.encode import Encoding, encode
from ..features.runtime import NotConverted, Runtime, converted_uncached, gains, installed
from ..features.throughput import flops_per_image
from .rates import Seconds, seconds

BACKBONES = (
    "conv4",
    "resnet12",
    "timm:mobilenetv2_100",
    "timm:tf_efficientnet_lite0",
    "timm:resnet18",
    "timm:resnet50",
    "timm:vit_small_patch16_224",
)
STORED = 84  # pixels of the images in the store
BATCH = 16
BATCHES = (4, 16, 64)  # compared on the network below, in its best runtime
COMPARED = "timm:mobilenetv2_100"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class EncodingSpeed:
    """One measurement.

    Attributes:
        backbone: its name.
        pixels: of a side of the network's images.
        runtime: torch or openvino.
        batch: images at a time.
        image: seconds an image.
        flops: floating-point operations of the network for an image.
        gains: whether `--runtime auto` takes OpenVINO where it is installed.
    """

    backbone: str
    pixels: int
    runtime: Runtime
    batch: int
    image: Seconds
    flops: int
    gains: bool


def runtimes() -> tuple[Runtime, ...]:
    """The installed ones."""
    return ("torch", "openvino") if installed() else ("torch",)


def check(name: str) -> None:
    """Check a backbone's name, before anything is measured.

    Raises:
        UsageError: it is unknown, or stands for no network.
    """
    cls = registry.load(registry.find("backbones", name))
    if name.startswith("imported:"):
        raise UsageError(f"--backbone {name}: it is features without a network; take one with a network")
    cls.from_name(name, {})


def initial_backbone(name: str) -> LoadedBackbone:
    """A backbone with initial weights: the weights change no time.

    Raises:
        UsageError: an unknown name.
    """
    cls = registry.load(registry.find("backbones", name))
    recipe = cls.from_name(name, {})
    preprocess = recipe.preprocess()
    module, width = initial_network(recipe, preprocess)
    return LoadedBackbone(name, recipe, module, preprocess, width, "", "", UNKNOWN, "", 0)


def encoding_speeds(name: str, batches: tuple[int, ...], progress: Progress, least: float) -> Iterator[EncodingSpeed]:
    """Measure a backbone in every installed runtime that holds it.

    Args:
        name: of the backbone.
        batches: numbers of images at a time.
        progress: told what does not convert.
        least: seconds of a measurement.
    """
    backbone = initial_backbone(name)
    flops, gain = flops_per_image(backbone.module, backbone.preprocess), gains(backbone.module)
    for runtime in runtimes():
        try:
            network = backbone if runtime == "torch" else converted_uncached(backbone)
        except NotConverted as error:
            progress.say(f"backbone {name} runs in torch alone: {error}")
            continue
        for batch in batches:
            images = np.random.default_rng(0).integers(0, 256, (batch, STORED, STORED, 3), dtype=np.uint8)
            encoding = Encoding(batch_size=batch, runtime=runtime)
            found = seconds(lambda n=network, i=images, e=encoding: [*encode(n, i, CPU, e)], least)
            image = Seconds(found.wall / batch, found.cpu / batch)
            yield EncodingSpeed(name, backbone.preprocess.size, runtime, batch, image, flops, gain)
