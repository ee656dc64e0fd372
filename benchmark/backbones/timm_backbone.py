"""Any model of timm as a backbone: `timm:NAME`.

Wightman 2019, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models. The model is made without its
classifier (`num_classes=0`); what it then gives is the feature. Size, mean and deviation of its images come from its own
configuration. Images of a prepared dataset are resized to that size as a whole (bilinear), a user's photos as timm's evaluation
does it (`square`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import timm
import torch
from timm.data.config import resolve_data_config
from timm.layers import evo_norm, filter_response_norm, norm, norm_act
from timm.layers.conv2d_same import Conv2dSame
from timm.models import PretrainedCfg
from torch import Generator, nn

from ...core.errors import FEW_NAMES, UsageError, did_you_mean
from ...core.files import sha256_of
from ...core.options import Settings
from ...methods.parts.random_numbers import seeded
from ...tasks.datasets.reading.image_files import Square, known_filter
from .base import Backbone, Preprocess, TokenBlocks
from .timm_blocks import last_block, token_blocks
from .weights.file import read_tensors
from .weights.hub import fetch

RESERVED = ("checkpoint_path", "in_chans", "num_classes", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay")
FILES = ("model.safetensors", "pytorch_model.bin")  # how the hub's timm repositories name their weights

NORM_LAYERS = tuple(  # every layer of timm's files of norms
    member
    for file in (norm, norm_act, evo_norm, filter_response_norm)
    for member in vars(file).values()
    if isinstance(member, type) and issubclass(member, nn.Module) and member.__module__ == file.__name__
)


@dataclass(frozen=True, init=False)
class TimmBackbone(Backbone):
    """Any model of timm, such as timm:resnet18; --set backbone.NAME=VALUE passes keyword arguments to timm.create_model."""

    model: str = field(init=False)
    arguments: Mapping[str, Any] = field(init=False)

    citation: ClassVar[str] = "Wightman 2019, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models"
    open_parameters: ClassVar[str] = "any keyword argument of timm.create_model is a parameter"
    norm_layers: ClassVar[tuple[type[nn.Module], ...]] = (*Backbone.norm_layers, *NORM_LAYERS)
    low_rank_layers: ClassVar[tuple[type[nn.Module], ...]] = (*Backbone.low_rank_layers, Conv2dSame)

    def __init__(self, model: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Check the names.

        Args:
            model: as in `timm.list_models()`, with or without the tag of its weights ("resnet18.a1_in1k").
            arguments: keyword arguments of `timm.create_model`; text is read as a Python literal where it is one.

        Raises:
            UsageError: timm has no such model, or an argument is one that fewbench gives.
        """
        architecture, dot, _ = model.partition(".")
        if not timm.is_model(architecture):
            near = did_you_mean(model, timm.list_models())
            # timm has more than a thousand models: too many for a line
            hint = near if near.startswith("did") else "python -c 'import timm; print(*timm.list_models())' lists them"
            raise UsageError(f"backbone timm:{model}: timm {timm.__version__} has no such model; {hint}")
        if dot and model not in (tagged := timm.list_pretrained(f"{architecture}.*")):
            raise UsageError(
                f"backbone timm:{model}: timm has no such weights of {architecture}; {did_you_mean(model, tagged, FEW_NAMES)}"
            )
        for name in arguments or {}:
            if name in RESERVED:
                raise UsageError(f"backbone timm:{model}: backbone.{name} cannot be set, fewbench gives timm its value")
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "arguments", {name: _literal(value) for name, value in (arguments or {}).items()})

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> TimmBackbone:
        """Make `timm:MODEL`."""
        return cls(name.partition(":")[2], settings)

    @property
    def parameters(self) -> Settings:
        """The keyword arguments that were set."""
        return dict(self.arguments)

    @property
    def changed(self) -> list[str]:
        """All of them."""
        return list(self.arguments)

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """The repository of the model's pretrained weights, None where timm knows none."""
        about = cls.from_name(name, {})._about()
        return about.hf_hub_id if about else None

    def code_version(self) -> str:
        """The release of timm."""
        return f"timm {timm.__version__}"

    def preprocess(self) -> Preprocess:
        """The preprocessing of timm's configuration of the model; the argument img_size overrides it.

        Raises:
            UsageError: the model's images are not square.
        """
        about = self._about()
        data = resolve_data_config({}, pretrained_cfg=about.to_dict() if about else {})
        channels, height, width = data["input_size"]
        if height != width:
            raise UsageError(f"backbone timm:{self.model}: its images are {height}×{width} pixels; only square ones are made")
        size = self.arguments.get("img_size", height)
        return Preprocess(channels, size if isinstance(size, int) else height, tuple(data["mean"]), tuple(data["std"]))

    def square(self, size: int) -> Square:
        """The filter and the share of timm's evaluation: EfficientNet-Lite0 takes the central 224 of 256 pixels."""
        about = self._about()
        data = resolve_data_config({}, pretrained_cfg=about.to_dict() if about else {})
        return Square(size, "crop", known_filter(data["interpolation"]), float(data["crop_pct"]))

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the model with initial weights."""
        # timm draws from the global generator
        with seeded(int(torch.randint(2**62, (1,), generator=generator))):
            return self._create(channels)

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """Make the model with its pretrained weights, fitted by timm to the arguments.

        Raises:
            UserError: the hub cannot be reached or has no weights.
        """
        about = self._about()
        assert about is not None and about.hf_hub_id
        repository, _, revision = about.hf_hub_id.partition("@")
        files = (about.hf_hub_filename,) if about.hf_hub_filename else FILES
        path = fetch(repository, revision or None, files, f"backbone timm:{self.model}")
        with seeded(0):  # of what the file leaves out
            overlay = {"state_dict": read_tensors(path), "source": "", "custom_load": False}
            module = self._create(channels, pretrained=True, pretrained_cfg_overlay=overlay)
        return module, sha256_of(path)

    def last_block(self, module: nn.Module) -> set[str]:
        """The last block as timm's layer-wise learning rates have it, and what comes after it.

        ViT: the last transformer block and the final norm. ResNet: the last residual block. VGG: the last convolution of the
        features, and the two layers after it.
        """
        return last_block(module)

    def token_blocks(self, module: nn.Module) -> TokenBlocks | None:
        """Those of timm's plain vision transformers."""
        return token_blocks(module)

    def _about(self) -> PretrainedCfg | None:
        return timm.get_pretrained_cfg(self.model, allow_unregistered=True)

    def _create(self, channels: int, **given: Any) -> nn.Module:
        try:
            module = timm.create_model(self.model, num_classes=0, in_chans=channels, **self.arguments, **given)
        except (AssertionError, AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"backbone timm:{self.model} is not made by timm: {type(error).__name__}: {reason}") from error
        about = getattr(module, "pretrained_cfg", None)
        if isinstance(about, dict):
            about.pop("state_dict", None)  # a second copy of the weights
        return module


def _literal(value: Any) -> Any:
    """Text as the Python literal that it spells, if a record can hold that; else as it is."""
    if not isinstance(value, str):
        return value
    try:
        literal = ast.literal_eval(value)
        json.dumps(literal, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value
    return literal
