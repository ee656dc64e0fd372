"""The base class of backbones: a network, and the preprocessing of its images.

Letters in shape comments: B images, C channels, H and W pixels, D feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # what every batch and instance norm is

from ...core.errors import UserError
from ...core.options import Declared, Settings, build, parameters_of
from ...tasks.datasets.reading.image_files import Square
from .image_settings import Preprocess

if TYPE_CHECKING:
    from ...methods.base import Method
    from ...tasks.datasets.base import Dataset
    from ..config import RunConfig
    from .clip.dual_encoder import DualEncoder
    from .clip.text_tower import TextTower
    from .weights.loading import LoadedBackbone

WITH_TEXT = "take --backbone clip-tiny or open_clip:ARCH/TAG"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, as torchvision has them


@dataclass(frozen=True)
class TokenBlocks:
    """Where learned tokens can join those of the image in a vision transformer.

    Attributes:
        names: of the modules that are its blocks, in order; each is called with tokens [B, T, W] and gives as many, for any T.
        width: W of a token.
        features: D of the network.
    """

    names: tuple[str, ...]
    width: int
    features: int


@dataclass(frozen=True)
class Backbone(Declared, ABC):
    """An image encoder. Subclasses are frozen dataclasses whose fields are the backbone's parameters.

    Attributes:
        version: changes when the features do that the same weights give.
    """

    version: ClassVar[str] = "1"
    citation: ClassVar[str] = ""
    colour_only: ClassVar[bool] = False  # whether images have to have three channels
    open_parameters: ClassVar[str] = ""  # for `bench show`, where the parameters are not fields
    # Parameters that came when records of the backbone existed: `parameters` leaves them out at their default, so that those
    # records keep their names. The default of such a parameter must never change.
    later_parameters: ClassVar[tuple[str, ...]] = ()
    # What `--tune` works on: layers that count as normalisation, and layers that can take low-rank adapters, namely those with
    # the very `forward` of one of these (a subclass may use its weight in another way).
    norm_layers: ClassVar[tuple[type[nn.Module], ...]] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    low_rank_layers: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear, nn.Conv2d)

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> Self:
        """Make the backbone that the user calls `name`, with parameters, text or typed.

        Raises:
            UsageError: an unknown parameter or a value of the wrong type.
        """
        return build(cls, settings, f"backbone {name}")

    @classmethod
    def check_options(cls, config: RunConfig) -> None:
        """Check, before anything is looked up, the options of a run that names this backbone.

        Raises:
            UsageError: the backbone would not heed one of them.
        """

    @classmethod
    def precomputed(cls, config: RunConfig, dataset: Dataset, method: Method, tune: str) -> LoadedBackbone | None:
        """The features that stand for a network in a run; None where there is a network to load.

        Args:
            config: of the run.
            dataset: of the run.
            method: decides which splits are read.
            tune: what the method may move.

        Raises:
            UsageError: the method needs a network, or there are no features of a split.
            UserError: the features are damaged.
        """
        return None

    @property
    def parameters(self) -> Settings:
        """Every parameter, as JSON can hold it, but for `later_parameters` at their default."""
        left_out = set(self.later_parameters).difference(self.changed)
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def changed(self) -> list[str]:
        """Names of the parameters that differ from their defaults."""
        return [p.name for p in parameters_of(type(self)) if getattr(self, p.name) != p.default]

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """The name of the pretrained weights of `name` that are fetched by default; None where there are none."""
        return None

    @classmethod
    def hub_pretraining(cls) -> Mapping[str, object]:
        """What the `hub_weights` have seen: at least what `Pretraining` needs. Of most hubs nobody knows."""
        return {"dataset": "unknown", "recipe": "unknown", "external": True}

    def code_version(self) -> str:
        """Version of code outside this package that the features depend on."""
        return ""

    def preprocess(self) -> Preprocess:
        """How images are made ready where nothing is known about the weights.

        This one is for networks that take images of any size: the 84 pixels of mini-ImageNet and the statistics of ImageNet,
        which most few-shot code uses.
        """
        return Preprocess(channels=3, size=84, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def square(self, size: int) -> Square:
        """How photos of any proportions become images of a size in pixels: the central square, bicubic."""
        return Square(size, "crop", "bicubic")

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """Make the network with `hub_weights`.

        Returns:
            The network and the SHA-256 of its weights file.
        """
        raise NotImplementedError

    @abstractmethod
    def build(self, channels: int, size: int, generator: torch.Generator) -> nn.Module:
        """Make the network with initial weights drawn from `generator`.

        Returns:
            A module from float [B, channels, size, size] to features [B, D].
        """

    def text_tower(self, weights: Path | None) -> TextTower:
        """The tower that reads texts into the space of the features, in evaluation mode.

        Args:
            weights: the file that the network was filled from; None for the `hub_weights`.

        Raises:
            UserError: there is none, or the file has none.
        """
        raise UserError(f"backbone {type(self).__name__} has no text tower; {WITH_TEXT}")

    def dual_encoder(self, channels: int, size: int, generator: torch.Generator) -> DualEncoder:
        """Image and text tower together, with initial weights drawn from `generator`, to be trained.

        Raises:
            UserError: there is no text tower.
        """
        raise UserError(f"backbone {type(self).__name__} has no text tower; {WITH_TEXT}")

    def last_block(self, module: nn.Module) -> set[str]:
        """Names of the parameters of the last block and of whatever comes after it, for `--tune last-block`.

        This one takes the last child that has parameters, of the first part of the network that has several such children.

        Args:
            module: a network that `build` made.
        """
        prefix, children = "", _children(module)
        while len(children) == 1 and _children(children[-1][1]):
            prefix, children = f"{prefix}{children[0][0]}.", _children(children[0][1])
        inside = f"{prefix}{children[-1][0]}." if children else ""
        return {name for name, _ in module.named_parameters() if name.startswith(inside)}

    def token_blocks(self, module: nn.Module) -> TokenBlocks | None:
        """The blocks of a vision transformer, for the scopes of `--tune` that add tokens; None: the network is none.

        Args:
            module: a network that `build` made.
        """
        return None


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that have parameters, by name."""
    return [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]


def feature_width(module: nn.Module, preprocess: Preprocess) -> int:
    """D, found by encoding one blank image.

    Raises:
        UserError: the network does not take such images, or does not give one vector an image.
    """
    device, size = next(module.parameters()).device, preprocess.size
    with torch.no_grad():
        try:
            features = module(torch.zeros(1, preprocess.channels, size, size, device=device))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the backbone takes no images of {size}×{size} pixels ({reason}); set backbone.size") from error
    if not isinstance(features, Tensor) or features.dim() != 2:
        shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"the backbone gives {shape} for one image, not features [1, D]")
    return int(features.shape[1])


def initial_network(backbone: Backbone, preprocess: Preprocess) -> tuple[nn.Module, int]:
    """The network with initial weights, in evaluation mode, and its feature width.

    Raises:
        UserError: it takes no images of that size, or gives no features.
    """
    module: object = backbone.build(preprocess.channels, preprocess.size, torch.Generator().manual_seed(0))
    if not isinstance(module, nn.Module) or next(module.parameters(), None) is None:
        got = "a module without parameters" if isinstance(module, nn.Module) else type(module).__name__
        raise UserError(f"backbone {type(backbone).__name__}: build gives {got}; expected a module with parameters")
    return module.eval(), feature_width(module.eval(), preprocess)
