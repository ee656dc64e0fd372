"""Meta-SGD: MAML with a meta-trained learning rate for every weight.

Li, Zhou, Chen and Li 2017, "Meta-SGD: learning to learn quickly for few-shot learning", arXiv:1707.09835.

The step is θ' = θ − α ∘ ∇L(θ), where α has the shape of θ and may become negative, so that it determines both direction and
length of the step. `inner_learning_rate` is the initial value of α.

Differs from the paper: α has one fixed initial value, while the paper draws values; more than one step is allowed. Batch norm
and the classifier are as in maml.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..base import Episodes
from ..parts.inner_loop import RatedHead, RatedInnerLoop, meta_trained
from ..parts.task_network import Network
from .maml import MAML


@dataclass(frozen=True)
class MetaSGD(RatedInnerLoop, MAML):
    """Meta-SGD: MAML with one step and a meta-trained learning rate for every weight (Li et al. 2017)."""

    citation: ClassVar[str] = "Li, Zhou, Chen and Li 2017, arXiv:1707.09835"

    def rates(self, episodes: Episodes, network: Network) -> Mapping[str, Tensor]:
        """The meta-trained learning rate of every weight, by the name of its parameter."""
        return dict(zip(network.parameters, meta_trained(RatedHead, episodes.learned).rates, strict=True))
