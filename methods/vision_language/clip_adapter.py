"""CLIP-Adapter: a small network on top of CLIP's image features, trained on the support.

Gao et al. 2021, "CLIP-Adapter: better vision-language models with feature adapters", arXiv:2110.04544.

Every episode has two new linear layers without bias, with a bottleneck between them. Their output for an image feature x is
blended with x, and the class whose text T is nearest by cosine wins:

    y = ratio · ReLU(W₂ · ReLU(W₁ · x)) + (1 − ratio) · x,        scores = 100 · y/‖y‖ · Tᵀ

The layers are trained by cross-entropy on the support; the text features stay as they are. As in the authors' released code
the bottleneck has a quarter of the feature's width, the second layer ends in a ReLU too (the paper's equation has none there),
and only the image side has an adapter, which the paper found best. The paper searches the ratio for each dataset; here it is
chosen on validation episodes. The released code's 0.2 is among the candidates.

Differs from the paper: the method works on features, so that there is no augmentation. Adam sees the whole support at every
step, and learning rate and number of steps are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...core.ranges import LARGEST_SIZE
from ..base import Episodes, Method, one_hot, parameter
from ..parts.adam import Adam
from ..parts.clip_scores import SCALE, absent_classes, row_shares, text_of, text_scores, unit_support
from ..parts.random_numbers import uniform

FIRST, SECOND = 0, 1  # streams of an episode's random numbers
SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class ClipAdapter(Method):
    """CLIP-Adapter: a bottleneck network on the image features, blended with them, trained on the support (Gao et al. 2021)."""

    uses_text: ClassVar[bool] = True
    citation: ClassVar[str] = "Gao et al. 2021, arXiv:2110.04544"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"ratio": (0.2, 0.4, 0.6, 0.8)}

    ratio: float | Literal["auto"] = parameter(
        "auto", "share of the adapter in the blend, from 0 to 1; auto chooses on validation episodes", minimum=0, maximum=1
    )
    reduction: int = parameter(4, "width of the features over that of the bottleneck", minimum=1, maximum=LARGEST_SIZE)
    steps: int = parameter(50, "of Adam, the whole support at each", minimum=0)
    learning_rate: float = parameter(0.001, "learning rate of Adam", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: 100 times the cosine of the blended feature with the text.

        Raises:
            UserError: the episodes bring no text features.
        """
        assert not isinstance(self.ratio, str)
        text = text_of(episodes)
        adapter = _Adapter.start(episodes, self.reduction, self.ratio)
        training = _Training(episodes, text)
        optimizer = Adam([adapter.first, adapter.second], [self.learning_rate] * 2)
        for _ in range(self.steps):
            optimizer.step(training.gradients(adapter))
        return text_scores(adapter(normalize(episodes.query, dim=-1)), text)  # [E, Q, N]


@dataclass(frozen=True)
class _Adapter:
    """The two layers of every episode; H is the width of the bottleneck. Without biases, a feature's length has no effect.

    Attributes:
        first: [E, H, D].
        second: [E, D, H].
        ratio: share of their output in the blend.
    """

    first: Tensor
    second: Tensor
    ratio: float

    @classmethod
    def start(cls, episodes: Episodes, reduction: int, ratio: float) -> _Adapter:
        """Draw initial weights as torch.nn.Linear does, uniform in ±1/√inputs."""
        count, _, width = episodes.support.shape
        narrow = max(1, width // reduction)
        first, second = (
            (2 * uniform(episodes.seeds, stream, narrow * width) - 1).to(episodes.support.dtype) for stream in (FIRST, SECOND)
        )
        first, second = first.view(count, narrow, width), second.view(count, width, narrow)
        return cls(first * width**-0.5, second * narrow**-0.5, ratio)

    def __call__(self, features: Tensor) -> Tensor:
        """Blend features [E, Q, D] with their adapted form, and scale them to length 1."""
        return normalize(self.blended(features, self.layers(features)[1]), dim=-1)

    def layers(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of both layers for features [E, Q, D]: [E, Q, H] and [E, Q, D]."""
        hidden = torch.bmm(features, self.first.transpose(1, 2)).relu_()
        return hidden, torch.bmm(hidden, self.second.transpose(1, 2)).relu_()

    def blended(self, features: Tensor, adapted: Tensor) -> Tensor:
        """The blend of features and adapted features, [E, Q, D]."""
        return features.lerp(adapted, self.ratio)


class _Training:
    """The gradient of each episode's mean cross-entropy over its support."""

    def __init__(self, episodes: Episodes, text: Tensor) -> None:
        self.support, self.text = unit_support(episodes), text  # [E, S, D], [E, N, D]
        self.targets = one_hot(episodes.support_labels, episodes.ways, text.dtype)  # [E, S, N]
        self.absent, self.shares = absent_classes(episodes, text.dtype), row_shares(episodes.support_labels, text.dtype)

    def gradients(self, adapter: _Adapter) -> tuple[Tensor, Tensor]:
        """Gradients with respect to the first layer [E, H, D] and the second [E, D, H]."""
        hidden, adapted = adapter.layers(self.support)  # [E, S, H], [E, S, D]
        blended = adapter.blended(self.support, adapted)
        length = torch.linalg.vector_norm(blended, dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)  # [E, S, 1]
        unit = blended / length
        errors = ((text_scores(unit, self.text) + self.absent).softmax(dim=-1) - self.targets) * self.shares  # [E, S, N]
        of_unit = torch.bmm(errors, self.text) * SCALE  # [E, S, D]
        of_blended = (of_unit - unit * (unit * of_unit).sum(dim=-1, keepdim=True)) / length
        of_adapted = of_blended * (adapted > 0) * adapter.ratio  # [E, S, D]
        of_hidden = torch.bmm(of_adapted, adapter.second) * (hidden > 0)  # [E, S, H]
        return torch.bmm(of_hidden.transpose(1, 2), self.support), torch.bmm(of_adapted.transpose(1, 2), hidden)
