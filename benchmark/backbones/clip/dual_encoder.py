"""A whole CLIP model, to be trained: an image tower and a text tower in one space."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from ....core.errors import UserError
from ....methods.parts.random_numbers import drawn
from .open_clip_models import OpenClipModel
from .text_tower import TextTower, Tokenizer


class DualEncoder(nn.Module):
    """A model of open_clip with both towers. As a backbone it is its image tower.

    Attributes:
        model: `open_clip.model.CLIP`, or `CustomTextCLIP`; it holds all tensors under the names that they have in open_clip.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, owner: str) -> None:
        """Take the model.

        Args:
            model: whole.
            tokenizer: of its text tower.
            owner: whose it is, for messages.
        """
        super().__init__()
        self.model, self._tokenizer, self._owner = model, tokenizer, owner

    @property
    def text(self) -> TextTower:
        """The text tower; it shares its tensors with this module."""
        return TextTower(getattr(self.model, "text", self.model), self._tokenizer, self._owner)

    @property
    def scale(self) -> Tensor:
        """By which cosines are multiplied, one over the temperature; a learned scalar, at most 100 as in the paper."""
        return self.model.get_parameter("logit_scale").exp().clamp(max=100)

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to features [B, D], not normalised."""
        features = self.model.get_submodule("visual")(images)
        return features[0] if isinstance(features, tuple) else features  # CoCa's towers give their tokens too


def build_dual_encoder(model: OpenClipModel, tokenizer: Tokenizer, owner: str, generator: Generator) -> DualEncoder:
    """A whole model with initial weights.

    Args:
        model: its architecture.
        tokenizer: of its text tower.
        owner: who asks, for messages.
        generator: draws the initial weights.

    Raises:
        UserError: open_clip does not make the model, or it is none of two towers alone.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    config = model.config
    if "multimodal_cfg" in config:
        raise UserError(f"{owner}: it has a third part, a decoder of texts, which is not trained here; take another")
    cls = CustomTextCLIP if config.get("custom_text") else CLIP
    try:
        vision = CLIPVisionCfg(**{**config["vision_cfg"], "timm_model_pretrained": False})
        text = CLIPTextCfg(**{**config["text_cfg"], "hf_model_pretrained": False})
        made = drawn(lambda: cls(config["embed_dim"], vision, text, quick_gelu=model.quick_gelu), generator)
    except Exception as error:  # open_clip raises what its parts raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{owner} is not made by open_clip: {reason}") from error
    return DualEncoder(made, tokenizer, owner)
