"""ANIL, "almost no inner loop": MAML in which the steps on the support move the linear classifier alone.

Raghu, Raghu, Bengio and Vinyals 2020, "Rapid learning or feature reuse? Towards understanding the effectiveness of MAML",
arXiv:1909.09157.

Since the backbone stays as it is within an episode, each image is encoded once, and the steps run on features x: where p is
the softmax of the scores, the support's cross-entropy has the gradient (p − y)·xᵀ for the weights and p − y for the biases,
averaged over the support. All episodes take a step together. Meta-training moves the backbone and where the classifier starts,
through the steps.

The defaults are MAML's for Omniglot 5-way; for mini-ImageNet inner_learning_rate=0.01 inner_steps=5 test_steps=10 (maml.py).

Differs from the paper: batch norm is the backbone's affair, which at test uses running statistics, so that this is inductive;
the paper's, like MAML's, uses those of the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from ..core.errors import UserError
from .base import Episodes, Method, one_hot, parameter
from .parts.maml_tasks import Head, fitted_classes, fitted_scores


@dataclass(frozen=True)
class ANIL(Method):
    """ANIL: a linear classifier adapted by gradient steps from a meta-trained start, on fixed features (Raghu et al. 2020)."""

    meta_trained: ClassVar[bool] = True
    fixed_ways: ClassVar[bool] = True
    # As Finn et al. 2017: meta-batch 32 on Omniglot (5-way), 4 on mini-ImageNet with gradients clipped to ±10; Adam at 1e-3.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"meta_batch": 4},
        "omniglot": {"meta_batch": 32, "queries": 1},
        "mini-imagenet": {"meta_batch": 4, "clip_value": 10.0},
    }
    needs_training: ClassVar[bool] = True
    citation: ClassVar[str] = "Raghu, Raghu, Bengio and Vinyals 2020, arXiv:1909.09157"

    inner_learning_rate: float = parameter(0.4, "learning rate of the steps on the support", above=0)
    inner_steps: int = parameter(1, "steps on the support in meta-training", minimum=1)
    test_steps: int = parameter(3, "steps on the support in evaluation", minimum=0)
    order: Literal["first", "second"] = parameter("second", "first leaves gradients of gradients out of meta-training")

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module:
        """The linear classifier."""
        return Head(width, ways, generator)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the classifier that was adapted to the support.

        Raises:
            UserError: there is no trained classifier, or an episode has more classes than it.
        """
        return self._adapted_scores(episodes, self.test_steps)

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean of the queries' cross-entropy after adaptation."""
        assert episodes.query_labels is not None
        scores = self._adapted_scores(episodes, self.inner_steps).masked_fill(~episodes.class_mask[:, None], -torch.inf)
        return cross_entropy(scores.flatten(0, 1), episodes.query_labels.flatten(), ignore_index=-1)

    def _adapted_scores(self, episodes: Episodes, steps: int) -> Tensor:
        """Scores [E, Q, N] after so many steps from the learned classifier with W outputs."""
        head = episodes.learned
        if not isinstance(head, Head):
            raise UserError("anil needs a meta-trained classifier: --checkpoint of a `bench train --method anil`")
        absent = ~fitted_classes(episodes, head.out_features)[:, None]  # [E, 1, W]
        present = (episodes.support_labels >= 0)[..., None]  # [E, S, 1]
        support = episodes.support.masked_fill(~present, 0)
        targets = one_hot(episodes.support_labels, head.out_features, support.dtype)  # [E, S, W]
        shares = present / present.sum(dim=1, keepdim=True)  # [E, S, 1]
        weights = head.weight.expand(len(episodes), -1, -1)  # [E, W, D]
        bias = head.bias.expand(len(episodes), 1, -1)  # [E, 1, W]
        for _ in range(steps):
            logits = torch.baddbmm(bias, support, weights.transpose(1, 2)).masked_fill(absent, -torch.inf)
            error = shares * (logits.softmax(dim=-1) - targets)  # [E, S, W]
            to_weights, to_bias = torch.bmm(error.transpose(1, 2), support), error.sum(dim=1, keepdim=True)
            if self.order == "first":
                to_weights, to_bias = to_weights.detach(), to_bias.detach()
            weights, bias = weights - self.inner_learning_rate * to_weights, bias - self.inner_learning_rate * to_bias
        return fitted_scores(torch.baddbmm(bias, episodes.query, weights.transpose(1, 2)), episodes.ways)
