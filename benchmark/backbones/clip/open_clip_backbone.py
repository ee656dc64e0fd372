"""The image tower of any model of open_clip as a backbone: `open_clip:ARCH/TAG`, or `open_clip:ARCH` with a weights file.

Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020; Ilharco et al.
2021, OpenCLIP, https://github.com/mlfoundations/open_clip. The feature is the image's vector in the space that it shares with
text, before it is scaled to length 1. Images are resized as a whole (bilinear) to the size of the model's configuration, not
cropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ....core.errors import UsageError, UserError
from ....core.files import sha256_of
from ....core.options import Settings, typed_values
from ....methods.parts.random_numbers import seeded
from ....tasks.datasets.reading.image_files import Square, known_filter
from ..base import Backbone, Preprocess, TokenBlocks
from ..weights.file import read_tensors
from ..weights.matching import fill
from .dual_encoder import DualEncoder, build_dual_encoder
from .open_clip_models import SCHEME, OpenClipModel, find_model, open_clip_package
from .text_tower import TextTower, Tokenizer, find_tokenizer, load_text_tower


class ImageTower(nn.Module):
    """Holds the tower under the name that it has in the whole model: the tensors of a whole model's file then match by name."""

    def __init__(self, visual: nn.Module) -> None:
        """Take the tower, from float [B, 3, H, W] to [B, D]."""
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to features [B, D]."""
        features = self.visual(images)
        return features[0] if isinstance(features, tuple) else features  # CoCa's towers give their tokens too


@dataclass(frozen=True, init=False)
class OpenClipBackbone(Backbone):
    """The image tower of any CLIP model of open_clip, such as open_clip:ViT-B-32/openai."""

    model: OpenClipModel = field(init=False)
    owner: str = field(init=False)

    colour_only: ClassVar[bool] = True

    citation: ClassVar[str] = (
        "Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020; "
        "Ilharco et al. 2021, OpenCLIP, https://github.com/mlfoundations/open_clip"
    )

    def __init__(self, model: str) -> None:
        """Find the model.

        Args:
            model: `ARCH` or `ARCH/TAG`.

        Raises:
            UsageError: an unknown architecture or tag.
        """
        object.__setattr__(self, "owner", f"backbone {SCHEME}{model}")
        object.__setattr__(self, "model", find_model(model, self.owner))

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> OpenClipBackbone:
        """Make `open_clip:MODEL`, which has no parameters."""
        typed_values({}, settings, f"backbone {name}")
        return cls(name.partition(":")[2])

    @property
    def parameters(self) -> Settings:
        """None: the name says everything."""
        return {}

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """The repository of the tag's weights; None without a tag."""
        return cls.from_name(name, {}).model.hub_name

    def code_version(self) -> str:
        """The release of open_clip, and of timm, from which some of its towers come."""
        import timm

        return f"open_clip {open_clip_package().__version__}, timm {timm.__version__}"

    def preprocess(self) -> Preprocess:
        """Size of the architecture; mean and deviation of the tag.

        Without a tag, mean and deviation are those that all tags of the architecture have, or else OpenAI's, as in open_clip.

        Raises:
            UsageError: the model's images are not square.
        """
        open_clip = open_clip_package()
        size = open_clip.CLIPVisionCfg(**self.model.config["vision_cfg"]).image_size
        height, width = size if isinstance(size, tuple | list) else (size, size)
        if height != width:
            raise UsageError(f"{self.owner}: its images are {height}×{width} pixels; only square ones are made")
        architecture = self.model.architecture
        tags = [self.model.tag] if self.model.tag else open_clip.list_pretrained_tags_by_model(architecture)
        known = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
        statistics = {(tuple(about["mean"]), tuple(about["std"])) for about in known}
        if len(statistics) != 1:
            statistics = {(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)}
        mean, std = statistics.pop()
        return Preprocess(3, height, mean, std)

    def square(self, size: int) -> Square:
        """The filter of the tag, which is bicubic for most."""
        return Square(size, "crop", known_filter(self.model.pretrained.get("interpolation", "bicubic")))

    def build(self, channels: int, size: int, generator: Generator) -> nn.Module:
        """Make the tower with initial weights.

        Raises:
            UserError: the images are grey, or open_clip does not make the tower.
        """
        self._check_channels(channels)
        # The whole model would fetch parts of some text towers.
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        vision = CLIPVisionCfg(**{**self.model.config["vision_cfg"], "timm_model_pretrained": False})
        # open_clip draws from the global generator
        with seeded(int(torch.randint(2**62, (1,), generator=generator))):
            try:
                tower = _build_vision_tower(self.model.config["embed_dim"], vision, self.model.quick_gelu)
            except (AssertionError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"{self.owner} is not made by open_clip: {type(error).__name__}: {reason}") from error
        return ImageTower(tower)

    def build_from_hub(self, channels: int) -> tuple[nn.Module, str]:
        """Make the tower with the tag's weights, all of which have to match.

        Raises:
            UserError: the hub cannot be reached or has no weights that fit.
        """
        path = self.model.fetch(self.owner)
        module = self.build(channels, self.preprocess().size, Generator().manual_seed(0))
        fill(module, read_tensors(path), path.name, self.owner.removeprefix("backbone "), needed=1.0)
        return module, sha256_of(path)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text tower.

        Raises:
            UserError: it needs a package or files of the hub that are not there.
        """
        return find_tokenizer(self.model.architecture, self.owner)

    def text_tower(self, weights: Path | None) -> TextTower:
        """The text tower of the same weights; open_clip's hub has those of a tag."""
        path = self.model.fetch(self.owner) if weights is None else weights
        return load_text_tower(self.model, self.tokenizer(), path, self.owner)

    def dual_encoder(self, channels: int, size: int, generator: Generator) -> DualEncoder:
        """The whole model; only images of the size of its configuration fit."""
        self._check_channels(channels)
        return build_dual_encoder(self.model, self.tokenizer(), self.owner, generator)

    def _check_channels(self, channels: int) -> None:
        if channels != 3:
            raise UsageError(f"{self.owner}: it takes colour images; leave backbone.channels at 3 (grey ones are repeated)")

    def last_block(self, module: nn.Module) -> set[str]:
        """The last block with everything after it, down to the projection into the joint space.

        Vision transformer: the last attention block, the norm, the pooling and the projection. ResNet: the last residual block
        and the attention pooling. A trunk of timm: its last block, as for `timm:NAME`, and open_clip's head.
        """
        from open_clip.modified_resnet import ModifiedResNet
        from open_clip.timm_model import TimmModel
        from open_clip.transformer import VisionTransformer

        tower = module.get_submodule("visual")
        inside: tuple[str, ...]
        if isinstance(tower, VisionTransformer):
            inside = (f"transformer.resblocks.{len(tower.transformer.resblocks) - 1}.", "attn_pool", "ln_post.", "proj")
        elif isinstance(tower, ModifiedResNet):
            inside = (f"layer4.{len(tower.layer4) - 1}.", "attnpool.")
        elif isinstance(tower, TimmModel):
            from ..timm_blocks import last_block

            inside = ("head.", *(f"trunk.{name}" for name in last_block(tower.trunk)))
        else:
            return super().last_block(module)
        return {name for name, _ in module.named_parameters() if name.startswith(tuple(f"visual.{part}" for part in inside))}

    def token_blocks(self, module: nn.Module) -> TokenBlocks | None:
        """Those of open_clip's own vision transformer, or of a plain one of timm as its trunk."""
        from open_clip.timm_model import TimmModel
        from open_clip.transformer import VisionTransformer

        from ..timm_blocks import token_blocks

        tower = module.get_submodule("visual")
        if isinstance(tower, VisionTransformer):
            count, width = len(tower.transformer.resblocks), tower.transformer.width
            names = tuple(f"visual.transformer.resblocks.{i}" for i in range(count))
        elif isinstance(tower, TimmModel) and (trunk := token_blocks(tower.trunk)) is not None:
            names, width = tuple(f"visual.trunk.{name}" for name in trunk.names), trunk.width
        else:
            return None
        return TokenBlocks(names, width, features=self.model.config["embed_dim"])
