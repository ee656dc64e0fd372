"""Which model of open_clip a name means, and where its weights are: for its image tower and for its text tower."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ....core.errors import FEW_NAMES, UsageError, UserError, did_you_mean
from ..weights.hub import CURE, fetch

SCHEME = "open_clip:"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # usual names of weights on the hub


@dataclass(frozen=True)
class OpenClipModel:
    """An architecture of open_clip, with the tag of pretrained weights or without.

    Attributes:
        architecture: as in `open_clip.list_models()`.
        tag: as in `open_clip.list_pretrained_tags_by_model(architecture)`; "" where none is named.
        config: what open_clip knows of the architecture: embed_dim, vision_cfg, text_cfg and more.
        pretrained: what it knows of the tag: hf_hub, mean, std and more; empty without a tag.
    """

    architecture: str
    tag: str
    config: dict[str, Any]
    pretrained: dict[str, Any]

    @property
    def quick_gelu(self) -> bool:
        """Whether the network approximates GELU as OpenAI's do; some tags need it though their architecture does not say so."""
        return bool(self.config.get("quick_gelu") or self.pretrained.get("quick_gelu"))

    @property
    def hub_name(self) -> str | None:
        """The hub's repository of the weights, or file in a repository; None where there is none."""
        return self.pretrained.get("hf_hub", "").strip("/") or None

    def fetch(self, owner: str, cure: str = CURE) -> Path:
        """The weights file of the tag, from the hub or its cache.

        Args:
            owner: who asks, for the message.
            cure: how to do without, for the message.

        Raises:
            UserError: the hub cannot be reached or does not have them.
        """
        # "owner/repository/" stands for a file of the usual name, "owner/repository/file" for that file
        repository, _, filename = self.pretrained.get("hf_hub", "").rpartition("/")
        if not repository:
            raise UserError(f"{owner}: its weights are not on the hub; {cure}")
        return fetch(repository, None, (filename,) if filename else FILES, owner, cure)


def open_clip_package() -> ModuleType:
    """Import open_clip, which takes seconds."""
    import open_clip

    return open_clip


def find_model(name: str, owner: str) -> OpenClipModel:
    """The model that `ARCH` or `ARCH/TAG` means.

    Args:
        name: without the scheme.
        owner: who asks, for the message ("backbone open_clip:ViT-B-32/openai").

    Raises:
        UsageError: an unknown architecture or tag.
    """
    open_clip = open_clip_package()
    architecture, slash, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        near = did_you_mean(architecture, open_clip.list_models())
        # open_clip has more than a hundred architectures: too many for a line
        hint = near if near.startswith("did") else "python -c 'import open_clip; print(*open_clip.list_models())' lists them"
        raise UsageError(f"{owner}: open_clip {open_clip.__version__} has no architecture '{architecture}'; {hint}")
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    if slash and not pretrained:
        near = did_you_mean(tag, open_clip.list_pretrained_tags_by_model(architecture), FEW_NAMES)
        raise UsageError(f"{owner}: open_clip has no weights '{tag}' of {architecture}; {near}")
    return OpenClipModel(architecture, tag, open_clip.get_model_config(architecture), dict(pretrained))
