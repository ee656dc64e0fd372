"""Prompts with a learned context: "[v₁] … [v_M] dog.", with M vectors in the place of words.

Letters in shape comments: B prompts, L tokens of a prompt, W width of a token, M tokens of the context, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...core.errors import UserError


class PromptTower(Protocol):
    """The interface of a text tower (`Episodes.text_tower`)."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn B texts into tokens, int64 [B, L]."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens, without positions: int64 [B, L] to [B, L, W]."""
        ...

    def encode(self, embedded: Tensor, tokens: Tensor) -> Tensor:
        """Encode embeddings [B, L, W] into features [B, D], not normalised; the tokens tell where each text ends."""
        ...


@dataclass(frozen=True)
class Prompts:
    """Prompts with a place for the context.

    Attributes:
        tokens: int64 [B, L], with the initial words of the context, or others, in its place.
        embedded: embeddings of these tokens, [B, L, W].
        start: first place of the context.
        length: number M of places of the context.
    """

    tokens: Tensor
    embedded: Tensor
    start: int
    length: int

    @classmethod
    def of(cls, tower: PromptTower, names: Sequence[str], context: str | None, tokens: int, device: torch.device) -> Prompts:
        """Put names behind a context, as "CONTEXT NAME.".

        Args:
            tower: the text tower.
            names: B names.
            context: initial words of the context, one token each; None for any words.
            tokens: M, where there are no initial words.
            device: device of the tower.

        Raises:
            UserError: the words are not one token each, or a prompt has no room for the context.
        """
        words = None if context is None else context.split()
        length = tokens if words is None else len(words)
        distinct = list(dict.fromkeys(names))
        # Each of two letters is one token in any vocabulary. Prompts with one and the other differ in the context's places.
        first, second = (tower.tokenize([" ".join([*length * [letter], f"{name}."]) for name in distinct]) for letter in "xz")
        differ = first != second  # [distinct names, L]
        start = int(differ[0].int().argmax())
        if not (differ.sum(dim=1) == length).all() or not differ[:, start : start + length].all():
            raise UserError(f"a context of {length} tokens does not fit into the texts of this text tower; take fewer")
        if words is not None:
            given = tower.tokenize([" ".join([*words, f"{name}."]) for name in distinct])
            if ((given != first) & ~differ).any():
                raise UserError(f"the words of context '{context}' are not one token each to this text tower; take others")
            first = given
        at = {name: place for place, name in enumerate(distinct)}
        rows = first[[at[name] for name in names]].to(device)  # [B, L]
        return cls(rows, tower.embed(rows), start, length)

    @property
    def words(self) -> Tensor:
        """Embeddings of the words in the context's place, [M, W]."""
        return self.embedded[0, self.start : self.start + self.length]

    def features(self, tower: PromptTower, contexts: Tensor) -> Tensor:
        """Text features at length 1, [B, D], of the prompts with contexts [B, M, W]."""
        parts = [self.embedded[:, : self.start], contexts, self.embedded[:, self.start + self.length :]]
        return torch.nn.functional.normalize(tower.encode(torch.cat(parts, dim=1), self.tokens), dim=-1)
