"""MAML: a starting point from which a few gradient steps on the support give a good classifier.

Finn, Abbeel and Levine 2017, "Model-agnostic meta-learning for fast adaptation of deep networks", arXiv:1703.03400.

The network is the backbone with a linear classifier. In an episode all of its weights move by `inner_steps` steps (`test_steps`
in evaluation) of gradient descent on the support's mean cross-entropy. Meta-training minimises the mean over tasks of the
queries' cross-entropy after these steps. It differentiates through the steps, so that gradients of gradients appear
(`order=second`).

The defaults are the paper's for Omniglot 5-way. Its other settings: Omniglot 20-way inner_learning_rate=0.1 inner_steps=5
test_steps=5; mini-ImageNet inner_learning_rate=0.01 inner_steps=5 test_steps=10, with 32 filters and gradients clipped to ±10.

The published numbers are transductive, since in evaluation batch norm used the statistics of all queries; their code takes
as many queries a class as shots, 5 at 5-way 1-shot and 25 at 5-way 5-shot, with every class equally often
(`statistics=queries`). With `statistics=support` the support's statistics normalise the queries, which is inductive.

Differs from the paper's released code: here scale and shift of batch norm are adapted like all other weights; there all tasks
share the shift, and there is no scale. Here the classifier's initial weights are Glorot-uniform with biases of zero on any
dataset; there, on Omniglot, they are standard normal. Meta-training only uses the loss after the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from ..base import Episodes, parameter
from ..parts.inner_loop import AdaptedNetwork
from ..parts.meta_gradient import Adaptation, faster, meta_loss, query_scores
from ..parts.task_network import Network, fitted_scores


@dataclass(frozen=True)
class MAML(AdaptedNetwork):
    """MAML: the whole network adapted by gradient steps from a meta-trained start (Finn et al. 2017)."""

    # Meta-batch 32 on Omniglot (5-way), 4 on mini-ImageNet with gradients clipped to ±10; Adam at 1e-3.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"meta_batch": 4},
        "omniglot": {"meta_batch": 32, "queries": 1},
        "mini-imagenet": {"meta_batch": 4, "clip_value": 10.0},
    }
    citation: ClassVar[str] = "Finn, Abbeel and Levine 2017, arXiv:1703.03400"

    order: Literal["first", "second"] = parameter("second", "first leaves gradients of gradients out of meta-training")
    parallel: Literal["auto", "vmap", "loop"] = parameter(
        "auto", "tasks at once (vmap) or one by one (loop); auto: what is faster in meta-training, loop in evaluation"
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the network after adaptation to the support.

        Raises:
            UserError: `tasks` raises it.
        """
        scores = query_scores(self._adaptation(episodes, self.test_steps), self.tasks(episodes), self.parallel)
        return fitted_scores(scores, episodes.ways)

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean over tasks of the queries' cross-entropy after adaptation."""
        return meta_loss(self._adaptation(episodes, self.inner_steps), self.tasks(episodes), self.parallel)

    def settled(self, episodes: Callable[[], Episodes] | None) -> Self:
        """Replace `parallel=auto` by the faster of vmap and loop; by loop where several processes must decide alike."""
        if self.parallel != "auto":
            return self
        if episodes is None:  # processes with timings of their own might choose differently
            return replace(self, parallel="loop")
        drawn = episodes()
        return replace(self, parallel=faster(self._adaptation(drawn, self.inner_steps), self.tasks(drawn)))

    def _adaptation(self, episodes: Episodes, steps: int) -> Adaptation:
        network = self.network(episodes)
        return Adaptation(network, self.rates(episodes, network), steps, self.order == "second")

    def rates(self, episodes: Episodes, network: Network) -> float | Mapping[str, Tensor]:
        """The learning rate of every parameter by name, or one for all."""
        return self.inner_learning_rate
