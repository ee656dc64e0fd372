"""Matching networks.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, "Matching networks for one shot learning", arXiv:1606.04080.

A query attends to all support images with weights that are the softmax of its cosine similarities (equations 1 and 2 of the
paper). The score of a class is the sum of the weights of its support images, which is a probability. Meta-training minimises
minus the logarithm of the true class's score.

With `full_context` the features are first put into the context of the episode (section 2.1.2 and appendix A). A bidirectional
LSTM reads the support: a support feature g is the sum of the LSTM's two outputs and the backbone's feature. A query reads the
support g with attention in K steps of an LSTM cell: with backbone feature f', h₀ = f' and c₀ = 0,

    r = Σ softmax(h·gᵢ)·gᵢ,    ĥ, c ← LSTM([f', r], h, c),    h ← ĥ + f'

and the last h takes the place of the query's feature.

Differs from the paper: full-context embeddings are off by default (`full_context`). The paper leaves the order open in which
the LSTM reads the support; here it is class after class, and within a class as drawn. The paper joins r to h instead of f'; the
weights of the cell act on either alike. It does not say how to choose K. With `scale` above 1 the cosines are multiplied before
the softmax, as in Chen et al. 2019 (arXiv:1904.04232), whose code has 100: features after a ReLU have cosines from 0 to 1, and
the paper's attention then stays nearly flat, which trains slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..base import Episodes, Method, one_hot, parameter
from ..parts.random_numbers import drawn
from ..parts.similarity import dot_products
from .protonet import ProtoNet

SMALLEST_NORM = 1e-12  # avoids a division by zero for an all-zero feature, whose similarities become 0


class FullContext(nn.Module):
    """The two LSTMs of full-context embeddings; features keep their width D."""

    def __init__(self, width: int) -> None:
        """Make the LSTMs for features of a width, with initial values from the global generator."""
        super().__init__()
        self.support_lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.query_cell = nn.LSTMCell(2 * width, width)

    def embed_support(self, support: Tensor, labels: Tensor) -> Tensor:
        """Put support [E, S, D] into context, read in the given order; padding, with label −1, must come last."""
        lengths = (labels >= 0).sum(dim=1).cpu()
        packed = pack_padded_sequence(support, lengths, batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.support_lstm(packed)[0], batch_first=True, total_length=support.shape[1])
        forward, backward = read.chunk(2, dim=-1)  # [E, S, D] each, 0 where a place is padding
        return support + forward + backward

    def embed_query(self, query: Tensor, support: Tensor, labels: Tensor, steps: int) -> Tensor:
        """Put queries [E, Q, D] into context, by a number of steps of attention to the support in context."""
        padding = (labels < 0)[:, None]  # [E, 1, S]
        inputs = query.flatten(0, 1)  # [E·Q, D]
        hidden, cell = inputs, torch.zeros_like(inputs)
        for _ in range(steps):
            match = dot_products(hidden.view_as(query), support).masked_fill(padding, -torch.inf)  # [E, Q, S]
            reading = torch.bmm(match.softmax(dim=-1), support.masked_fill(padding.transpose(1, 2), 0))  # [E, Q, D]
            hidden, cell = self.query_cell(torch.cat([inputs, reading.flatten(0, 1)], dim=-1), (hidden, cell))
            hidden = hidden + inputs
        return hidden.view_as(query)


@dataclass(frozen=True)
class MatchingNet(Method):
    """Matching networks: cosine attention over the support, full-context embeddings on request (Vinyals et al. 2016)."""

    meta_trained: ClassVar[bool] = True
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = ProtoNet.trained_with
    later_parameters: ClassVar[frozenset[str]] = frozenset({"full_context", "steps", "scale"})
    citation: ClassVar[str] = "Vinyals et al. 2016, arXiv:1606.04080"

    full_context: bool = parameter(False, "put the features in the context of the episode with LSTMs, which must be trained")
    scale: float = parameter(1.0, "factor on the cosines before the softmax; the paper has 1", above=0)
    steps: int = parameter(5, "K, how often a query reads the support; with full_context only", minimum=1)

    def __post_init__(self) -> None:
        """Set `needs_training`: full-context embeddings do."""
        super().__post_init__()
        # The class attribute is the default, for listings.
        object.__setattr__(self, "needs_training", self.full_context)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> FullContext | None:
        """The LSTMs of full-context embeddings; None without them."""
        return drawn(lambda: FullContext(width), generator) if self.full_context else None

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the attention to the class's support, from 0 to 1."""
        log_attention, labels = self._log_attention(episodes)
        return torch.bmm(log_attention.exp(), one_hot(labels, episodes.ways, log_attention.dtype))  # [E, Q, N]

    def _log_attention(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Logarithm of the attention of every query to every support image [E, Q, S], and the support's labels [E, S]."""
        support, query, labels = episodes.support, episodes.query, episodes.support_labels
        if self.full_context:
            support, query, labels = self._in_context(episodes)
        support = normalize(support, dim=-1, eps=SMALLEST_NORM)  # [E, S, D]
        query_norm = torch.linalg.vector_norm(query, dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)  # [E, Q, 1]
        cosine = dot_products(query, support) / query_norm  # [E, Q, S]
        padding = (labels < 0)[:, None]  # [E, 1, S]
        return (self.scale * cosine).masked_fill(padding, -torch.inf).log_softmax(dim=-1), labels

    def _in_context(self, episodes: Episodes) -> tuple[Tensor, Tensor, Tensor]:
        """Support and queries in context, and support labels; the support is sorted by class, with padding last."""
        lstms = episodes.learned
        assert isinstance(lstms, FullContext)
        labels = episodes.support_labels
        order = labels.masked_fill(labels < 0, episodes.ways).argsort(dim=1, stable=True)  # [E, S]
        labels, support = labels.gather(1, order), episodes.support.take_along_dim(order[..., None], dim=1)
        support = lstms.embed_support(support, labels)
        return support, lstms.embed_query(episodes.query, support, labels, self.steps), labels

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean over all queries of minus the logarithm of the attention to the true class's support."""
        assert episodes.query_labels is not None
        log_attention, labels = self._log_attention(episodes)
        other = labels[:, None] != episodes.query_labels[..., None]  # [E, Q, S]
        of_true_class = log_attention.masked_fill(other, -torch.inf)[episodes.query_labels >= 0]
        return -of_true_class.logsumexp(dim=-1).mean()
