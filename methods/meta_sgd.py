"""Meta-SGD: MAML with a learning rate of its own for every weight, meta-trained with the weights.

Li, Zhou, Chen and Li 2017, "Meta-SGD: learning to learn quickly for few-shot learning", arXiv:1707.09835.

One step θ' = θ − α ∘ ∇L(θ), where α has the shape of θ and may become negative: it holds the direction of the step as well as
its length. `inner_learning_rate` is where all of α starts.

Differs from the paper: α starts at a set value, where the paper draws one; more than one step is allowed. Batch norm and the
classifier as in maml.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor, nn

from .base import Episodes, parameter
from .maml import MAML
from .parts.inner_loop import Head, RatedHead, meta_trained
from .parts.task_network import Network


@dataclass(frozen=True)
class MetaSGD(MAML):
    """Meta-SGD: MAML with one step and a meta-trained learning rate for every weight (Li et al. 2017)."""

    citation: ClassVar[str] = "Li, Zhou, Chen and Li 2017, arXiv:1707.09835"

    inner_learning_rate: float = parameter(0.1, "where the learning rates of all weights start", above=0)
    test_steps: int = parameter(1, "steps on the support in evaluation", minimum=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module:
        """The linear classifier and the learning rates."""
        return RatedHead(backbone, Head(width, ways, generator), self.inner_learning_rate)

    def head(self, learned: nn.Module | None) -> Head:
        """The classifier beside the learning rates."""
        return meta_trained(RatedHead, learned).head

    def rates(self, episodes: Episodes, network: Network) -> Mapping[str, Tensor]:
        """The meta-trained learning rate of every weight, by the name of its parameter."""
        return dict(zip(network.parameters, meta_trained(RatedHead, episodes.learned).rates, strict=True))
