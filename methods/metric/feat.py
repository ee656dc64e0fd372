"""FEAT: prototypes that see each other.

Ye, Hu, Zhan and Sha 2020, "Few-shot learning via embedding adaptation with set-to-set functions", arXiv:1812.03664.

One layer of self-attention with one head adapts the class means of an episode to each other. A query belongs to the class whose
adapted mean is nearest by squared Euclidean distance. Meta-training adds a contrastive loss: the same layer adapts all images
of each class, support and queries, to each other, and every image must be nearest to the mean of its own class's adapted
images.

Layers, their names, initial values and dropout are those of the authors' code. The defaults are those of its mini-ImageNet
5-way 1-shot run with Conv-4. Its other runs take a contrastive weight of 0.01 to 0.1 and temperatures of 32 or 64. Its
optimiser gives this layer ten times the backbone's learning rate.

Differs from the paper: the random numbers of dropout come from the episode's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from ..base import Episodes, Method, class_means, parameter
from ..parts.random_numbers import drawn, uniform
from ..parts.similarity import distance_scores

ATTENTION_DROPOUT, OUTPUT_DROPOUT = 0.1, 0.5
PROTOTYPES, IMAGES = 0, 2  # streams of an episode's random numbers, two each


class SetTransformer(nn.Module):
    """Self-attention with one head, a residual connection and layer normalisation; rows keep their width D."""

    def __init__(self, width: int) -> None:
        """Make the layer for rows of a width, with initial values from the global generator."""
        super().__init__()
        self.w_qs, self.w_ks, self.w_vs = (nn.Linear(width, width, bias=False) for _ in range(3))
        for layer in (self.w_qs, self.w_ks, self.w_vs):
            nn.init.normal_(layer.weight, std=width**-0.5)
        self.fc = nn.Linear(width, width)
        nn.init.xavier_normal_(self.fc.weight)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor, sees: Tensor, seeds: Tensor, stream: int) -> Tensor:
        """Adapt rows to the rows that they attend to.

        Args:
            rows: [E, R, D].
            sees: bool [E, R, R] or [E, 1, R], True where a row attends to another; each row attends to at least one.
            seeds: int64 [E], for dropout.
            stream: the first of two streams of the episode's random numbers.

        Returns:
            [E, R, D].
        """
        match = torch.bmm(self.w_qs(rows), self.w_ks(rows).transpose(1, 2)) / rows.shape[-1] ** 0.5  # [E, R, R]
        attention = match.masked_fill(~sees, -torch.inf).softmax(dim=-1)
        attention = self._dropped(attention, ATTENTION_DROPOUT, seeds, stream)
        output = self.fc(torch.bmm(attention, self.w_vs(rows)))  # [E, R, D]
        return self.layer_norm(self._dropped(output, OUTPUT_DROPOUT, seeds, stream + 1) + rows)

    def _dropped(self, values: Tensor, rate: float, seeds: Tensor, stream: int) -> Tensor:
        if not self.training:
            return values
        kept = uniform(seeds, stream, values[0].numel()).view_as(values) >= rate
        return values * kept / (1 - rate)


@dataclass(frozen=True)
class Feat(Method):
    """FEAT: class means adapted to each other by self-attention, then the nearest (Ye et al. 2020)."""

    meta_trained: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True
    citation: ClassVar[str] = "Ye, Hu, Zhan and Sha 2020, arXiv:1812.03664"

    temperature: float = parameter(64.0, "squared distances are divided by it before the softmax", above=0)
    contrastive_temperature: float = parameter(16.0, "the same in the contrastive loss", above=0)
    contrastive_weight: float = parameter(1.0, "factor on the contrastive loss", minimum=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> SetTransformer:
        """The layer of self-attention."""
        return drawn(lambda: SetTransformer(width), generator)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus the squared distance to the adapted class mean over the temperature, up to a constant of each query."""
        assert isinstance(episodes.learned, SetTransformer)
        means = class_means(episodes.support, episodes.support_labels, episodes.ways)  # [E, N, D]
        adapted = episodes.learned(means, episodes.class_mask[:, None], episodes.seeds, PROTOTYPES)  # [E, N, D]
        return _distance_scores(episodes.query, adapted, episodes) / self.temperature  # [E, Q, N]

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean cross-entropy over all queries, plus the weighted contrastive loss over all images."""
        return super().loss(episodes) + self.contrastive_weight * self.contrastive_loss(episodes)

    def contrastive_loss(self, episodes: Episodes) -> Tensor:
        """Mean cross-entropy over all images, with scores from distances to the means of each class's adapted images."""
        assert isinstance(episodes.learned, SetTransformer) and episodes.query_labels is not None
        images = torch.cat([episodes.support, episodes.query], dim=1)  # [E, S + Q, D]
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)  # [E, S + Q]
        same_class = labels[:, :, None] == labels[:, None]  # [E, S + Q, S + Q]; padding attends to padding
        adapted = episodes.learned(images, same_class, episodes.seeds, IMAGES)  # [E, S + Q, D]
        centres = class_means(adapted, labels, episodes.ways)  # [E, N, D]
        scores = _distance_scores(images, centres, episodes) / self.contrastive_temperature
        scores = scores.masked_fill(~episodes.class_mask[:, None], -torch.inf)
        return cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-1)


def _distance_scores(query: Tensor, points: Tensor, episodes: Episodes) -> Tensor:
    """Apply `distance_scores` to points that may be anything where an episode has fewer classes."""
    return distance_scores(query, points * episodes.class_mask[..., None], episodes.class_mask)
