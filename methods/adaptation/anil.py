"""ANIL, "almost no inner loop": MAML in which the steps on the support move the linear classifier alone.

Raghu, Raghu, Bengio and Vinyals 2020, "Rapid learning or feature reuse? Towards understanding the effectiveness of MAML",
arXiv:1909.09157.

Within an episode the backbone stays as it is. Each image is therefore encoded once, and the steps run on features x. With p the
softmax of the scores, the support's cross-entropy has the gradient (p − y)·xᵀ for the weights and p − y for the biases,
averaged over the support. All episodes take a step together. Meta-training moves the backbone and the classifier's initial
weights, with gradients through the steps.

The defaults are MAML's for Omniglot 5-way; for mini-ImageNet inner_learning_rate=0.01 inner_steps=5 test_steps=10 (maml.py).

Differs from the paper: in evaluation batch norm uses the backbone's running statistics, which makes the method inductive; the
paper, like MAML, uses the statistics of the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..base import Episodes, one_hot, parameter
from ..parts.inner_loop import InnerLoopMethod, descend
from ..parts.task_network import Parameters, fitted_classes, fitted_scores
from .maml import MAML


@dataclass(frozen=True)
class ANIL(InnerLoopMethod):
    """ANIL: a linear classifier adapted by gradient steps from a meta-trained start, on fixed features (Raghu et al. 2020)."""

    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = MAML.trained_with
    citation: ClassVar[str] = "Raghu, Raghu, Bengio and Vinyals 2020, arXiv:1909.09157"

    order: Literal["first", "second"] = parameter("second", "first leaves gradients of gradients out of meta-training")

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the classifier after adaptation to the support.

        Raises:
            UserError: there is no trained classifier, or an episode has more classes than the classifier.
        """
        return self._adapted_scores(episodes, self.test_steps)

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean of the queries' cross-entropy after adaptation."""
        assert episodes.query_labels is not None
        scores = self._adapted_scores(episodes, self.inner_steps).masked_fill(~episodes.class_mask[:, None], -torch.inf)
        return cross_entropy(scores.flatten(0, 1), episodes.query_labels.flatten(), ignore_index=-1)

    def _adapted_scores(self, episodes: Episodes, steps: int) -> Tensor:
        """Scores [E, Q, N] after a number of steps from the learned classifier with W outputs."""
        head = self.head(episodes.learned)
        absent = ~fitted_classes(episodes, head.out_features)[:, None]  # [E, 1, W]
        present = (episodes.support_labels >= 0)[..., None]  # [E, S, 1]
        support = episodes.support.masked_fill(~present, 0)
        targets = one_hot(episodes.support_labels, head.out_features, support.dtype)  # [E, S, W]
        shares = present / present.sum(dim=1, keepdim=True)  # [E, S, 1]

        def gradient(layer: Parameters, _: int) -> Parameters:
            logits = torch.baddbmm(layer["bias"], support, layer["weight"].transpose(1, 2)).masked_fill(absent, -torch.inf)
            error = shares * (logits.softmax(dim=-1) - targets)  # [E, S, W]
            slopes = {"weight": torch.bmm(error.transpose(1, 2), support), "bias": error.sum(dim=1, keepdim=True)}
            return {name: slope.detach() if self.order == "first" else slope for name, slope in slopes.items()}

        start = {"weight": head.weight.expand(len(episodes), -1, -1), "bias": head.bias.expand(len(episodes), 1, -1)}
        layer = descend(start, steps, gradient, lambda _, slope, __: self.inner_learning_rate * slope)  # [E, W, D], [E, 1, W]
        return fitted_scores(torch.baddbmm(layer["bias"], episodes.query, layer["weight"].transpose(1, 2)), episodes.ways)
