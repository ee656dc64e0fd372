"""Prompts with a learned context: "[v₁] … [v_M] dog.", M vectors in the place of words.

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
    """What is asked of a text tower (`Episodes.text_tower`)."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """B texts to int64 [B, L]."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Token embeddings without positions: int64 [B, L] to [B, L, W]."""
        ...

    def encode(self, embedded: Tensor, tokens: Tensor) -> Tensor:
        """Embeddings [B, L, W], and the tokens that say where each text ends, to features [B, D], not normalised."""
        ...


@dataclass(frozen=True)
class Prompts:
    """Prompts whose context is left open.

    Attributes:
        tokens: int64 [B, L], with the words of the context, or others, in its place.
        embedded: [B, L, W], of these tokens.
        start: the first place of the context.
        length: M.
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
            names: B of them.
            context: words in its place, one token each; None for any.
            tokens: M where there are no words.
            device: of the tower.

        Raises:
            UserError: the words are not one token each, or a prompt has no room for the context.
        """
        words = None if context is None else context.split()
        length = tokens if words is None else len(words)
        distinct = list(dict.fromkeys(names))
        # Two letters, one token each in any vocabulary, show the places of the context: where the prompts differ.
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
        """Embeddings of what the context's place holds, [M, W]."""
        return self.embedded[0, self.start : self.start + self.length]

    def features(self, tower: PromptTower, contexts: Tensor) -> Tensor:
        """Text features at length 1, [B, D], of the prompts with contexts [B, M, W]."""
        parts = [self.embedded[:, : self.start], contexts, self.embedded[:, self.start + self.length :]]
        return torch.nn.functional.normalize(tower.encode(torch.cat(parts, dim=1), self.tokens), dim=-1)
