"""The text side of a CLIP model of open_clip: from texts to vectors in the space that it shares with images.

Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020.

Letters in shape comments: B texts, L tokens of a text, W width of a token, D feature width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ....core.errors import UserError
from ....methods.parts.random_numbers import seeded
from ..weights.file import read_tensors
from ..weights.matching import fill
from .open_clip_models import OpenClipModel, open_clip_package

Tokenizer = Callable[..., Tensor]  # (list of B texts, context_length=L) to int64 [B, L], as open_clip's are called
PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final")  # of open_clip's own text towers
POOLED = ("argmax", "eos", "last", "first")  # which token's vector is the feature
WRAPPERS = r"^(module\.|model\.|_orig_mod\.)+"  # what DataParallel, Lightning and torch.compile put before names
TEXT, IMAGE = "text.", "visual."  # where some models, and all, hold the towers


class TextTower(nn.Module):
    """Reads texts.

    Attributes:
        context_length: L, how many tokens it reads of a text.
    """

    context_length: int

    def __init__(self, text: nn.Module, tokenizer: Tokenizer, owner: str) -> None:
        """Take the tower.

        Args:
            text: a text tower of open_clip, or a whole `open_clip.model.CLIP`, which holds the parts of one.
            tokenizer: that belongs to it.
            owner: whose it is, for messages ("backbone clip-tiny").
        """
        super().__init__()
        self.text, self.owner, self._tokenizer = text, owner, tokenizer
        self.context_length = int(getattr(text, "context_length", 0) or getattr(tokenizer, "context_length", 0) or 77)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """B texts to int64 [B, L] on the CPU; longer ones are cut as open_clip cuts them."""
        return self._tokenizer(list(texts), context_length=self.context_length)

    def too_long(self, texts: Sequence[str]) -> list[str]:
        """The texts that have more than L tokens, so that their end is not read."""
        if not texts:
            return []
        # One place more than there is: it is padding, like that of an empty text, where the text fits.
        last = self._tokenizer([*texts, ""], context_length=self.context_length + 1)[:, -1]
        return [text for text, token in zip(texts, last[:-1], strict=True) if token != last[-1]]

    def forward(self, tokens: Tensor) -> Tensor:
        """Int64 [B, L] to features [B, D], not normalised."""
        if self._open:
            return self.encode(self.embed(tokens), tokens)
        # A whole model's forward is of images and texts.
        features = self.text.encode_text(tokens) if hasattr(self.text, "encode_text") else self.text(tokens)  # type: ignore
        return features[0] if isinstance(features, tuple) else features  # CoCa's give their tokens too

    def embed(self, tokens: Tensor) -> Tensor:
        """The embeddings of tokens, int64 [B, L] to [B, L, W], without positions.

        Raises:
            UserError: the tower cannot be taken apart.
        """
        return self._parts().token_embedding(tokens)

    def encode(self, embedded: Tensor, tokens: Tensor) -> Tensor:
        """From embeddings on: [B, L, W] to features [B, D], not normalised.

        What stands behind the last token of the longest text is left out where the tower does not look there.

        Args:
            embedded: what `embed` gave, or learned vectors in the place of some.
            tokens: int64 [B, L], which say where each text ends.

        Raises:
            UserError: the tower cannot be taken apart.
        """
        text = self._parts()
        pool, mask = _pooling(text), text.attn_mask  # [L, L], or None where tokens look at later ones too
        end = _ends(tokens, pool, text)  # [B]
        if mask is not None:
            length = int(end.max()) + 1
            embedded, mask = embedded[:, :length], mask[:length, :length]
        x = embedded + text.positional_embedding[: embedded.shape[1]]  # [B, L, W]
        x = text.ln_final(text.transformer(x, attn_mask=mask))
        x = x.take_along_dim(end[:, None, None], dim=1)[:, 0]  # [B, W]
        projection = text.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Module) else x @ projection

    @property
    def _open(self) -> bool:
        """Whether the tower has the parts that `encode` puts together, and no others."""
        text = self.text
        others = getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False)
        return all(hasattr(text, part) for part in PARTS) and not others and _pooling(text) in POOLED

    def _parts(self) -> Any:
        if not self._open:
            raise UserError(f"{self.owner}: its text tower takes no learned prompts; take a CLIP model, such as clip-tiny")
        return self.text


def _pooling(text: nn.Module) -> str:
    """Which token's vector is the feature; whole models and towers have different names for it."""
    return str(getattr(text, "text_pool_type", getattr(text, "pool_type", "")))


def _ends(tokens: Tensor, pool: str, text: nn.Module) -> Tensor:
    """The place of the token whose vector is the feature, int64 [B]."""
    if pool == "argmax":  # the end of a text has the highest number
        return tokens.argmax(dim=1)
    if pool == "eos":
        return (tokens == getattr(text, "text_eos_id", getattr(text, "eos_id", None))).int().argmax(dim=1)
    return tokens.new_full((len(tokens),), tokens.shape[1] - 1 if pool == "last" else 0)


def find_tokenizer(architecture: str, owner: str) -> Tokenizer:
    """The tokenizer of an architecture of open_clip.

    Raises:
        UserError: it needs a package or files of the hub that are not there.
    """
    try:
        return open_clip_package().get_tokenizer(architecture)
    except Exception as error:  # whatever the tokenizer's package, the hub's client or the disk has to say
        raise UserError(f"{owner}: its tokenizer cannot be made: {_reason(error)}") from error


def load_text_tower(model: OpenClipModel, tokenizer: Tokenizer, weights: Path, owner: str) -> TextTower:
    """The text tower of a model, in evaluation mode, with the weights of a file that holds the whole model.

    Args:
        model: its architecture.
        tokenizer: that belongs to it.
        weights: a safetensors or PyTorch file.
        owner: who asks, for messages.

    Raises:
        UserError: the file is no weights file, has no text tower or that of another architecture, or open_clip does not make
            the tower.
    """
    tensors = {re.sub(WRAPPERS, "", name): value for name, value in read_tensors(weights).items()}
    text = build_text_tower(model, owner)
    given = {name.removeprefix(TEXT): value for name, value in tensors.items() if not name.startswith(IMAGE)}
    if not given.keys() & text.state_dict().keys():
        raise UserError(f"{owner}: the weights {weights.name} have no text tower; take those of a whole CLIP model")
    fill(text, given, weights.name, f"{owner.removeprefix('backbone ')} (its text tower)", needed=1.0)
    return TextTower(text, tokenizer, owner).eval()


def build_text_tower(model: OpenClipModel, owner: str) -> nn.Module:
    """The tower as open_clip makes it, with initial weights.

    Raises:
        UserError: open_clip does not make it, say because parts of it are fetched and the hub cannot be reached.
    """
    from open_clip.model import CLIPTextCfg, _build_text_tower

    try:
        with seeded(0):  # open_clip draws from the global generator
            config = CLIPTextCfg(**{**model.config["text_cfg"], "hf_model_pretrained": False})
            return _build_text_tower(model.config["embed_dim"], config, model.quick_gelu)
    except Exception as error:  # open_clip raises what its parts raise
        raise UserError(f"{owner}: its text tower is not made by open_clip: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
