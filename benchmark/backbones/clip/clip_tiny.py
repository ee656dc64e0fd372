"""A CLIP model small enough to be shipped: classes and tokenizer of open_clip, trained on trifeature by `bench pretrain`.

Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020: CLIP's modified
ResNet with four bottleneck blocks, and its text transformer with two layers. The vocabulary has CLIP's bytes and end marks, and
400 merges of byte pairs instead of 48,894: they were learned on the words of trifeature, of prompts and of ImageNet's class
names. Texts of other words are read in smaller pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....core.files import sha256_of
from ....core.options import Settings, typed_values
from .open_clip_backbone import OpenClipBackbone
from .open_clip_models import OpenClipModel
from .text_tower import Tokenizer

VOCABULARY = Path(__file__).parent / "clip_tiny_vocabulary.txt.gz"
VOCABULARY_SIZE = 914  # 256 bytes, each alone and at the end of a word; 400 merges; start and end of a text
CONFIG = {
    "embed_dim": 64,
    # Images of 32 pixels are enlarged: the network's last map is 32 times smaller than the image.
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": {
        "context_length": 32, "vocab_size": VOCABULARY_SIZE, "width": 64, "heads": 4, "layers": 2, "mlp_ratio": 2.0,
    },
}  # fmt: skip


@dataclass(frozen=True, init=False)
class ClipTiny(OpenClipBackbone):
    """A small CLIP model with image and text tower; the shipped weights know the colours, textures and shapes of trifeature."""

    def __init__(self) -> None:
        """The one architecture that there is."""
        object.__setattr__(self, "owner", "backbone clip-tiny")
        object.__setattr__(self, "model", OpenClipModel("clip-tiny", "", CONFIG, {}))

    @classmethod
    def from_name(cls, name: str, settings: Settings) -> ClipTiny:
        """Make it; it has no parameters."""
        typed_values({}, settings, f"backbone {name}")
        return cls()

    @classmethod
    def hub_weights(cls, name: str) -> str | None:
        """None: no hub has any."""
        return None

    def code_version(self) -> str:
        """The releases that the network comes from, and the vocabulary."""
        return f"{super().code_version()}, vocabulary {sha256_of(VOCABULARY)}"

    def tokenizer(self) -> Tokenizer:
        """Open_clip's own, with a smaller vocabulary."""
        from open_clip.tokenizer import SimpleTokenizer

        return SimpleTokenizer(str(VOCABULARY), context_length=CONFIG["text_cfg"]["context_length"])
