"""MAML: a starting point from which a few gradient steps on the support give a good classifier.

Finn, Abbeel and Levine 2017, "Model-agnostic meta-learning for fast adaptation of deep networks", arXiv:1703.03400.

The network is the backbone with a linear classifier. For an episode all of its weights move by `inner_steps` (`test_steps` when
evaluated) steps of gradient descent on the support's mean cross-entropy. Meta-training minimises the mean over tasks of the
queries' cross-entropy after that, through the steps, so that gradients of gradients appear (`order=second`).

The defaults are the paper's for Omniglot 5-way. Its others: Omniglot 20-way inner_learning_rate=0.1 inner_steps=5 test_steps=5;
mini-ImageNet inner_learning_rate=0.01 inner_steps=5 test_steps=10, with 32 filters and gradients clipped to ±10.

The published numbers are transductive, since batch norm used the statistics of all queries at test (`statistics=queries`).
`statistics=support` normalises the queries by the support instead: inductive.

Differs from the paper's released code: the scale and shift of batch norm are adapted as all other weights are; there they are
shared by all tasks, and there is no scale. The classifier starts Glorot-uniform with biases of zero on any dataset; there, on
Omniglot, standard normal. Meta-training takes no further steps into account than the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from torch import Generator, Tensor, nn

from ..core.errors import UserError
from .base import Episodes, Method, parameter
from .parts.maml_engine import InnerLoop, Network
from .parts.maml_parallel import faster, meta_loss, query_scores
from .parts.maml_tasks import Head, check_no_padding, fitted_scores, tasks_of

STATISTICS_HELP = "batch norm of the queries: by the queries themselves (transductive) or by the support"


@dataclass(frozen=True)
class MAML(Method):
    """MAML: the whole network adapted by gradient steps from a meta-trained start (Finn et al. 2017)."""

    inputs: ClassVar[Literal["features", "images"]] = "images"
    transductive: ClassVar[bool] = True
    meta_trained: ClassVar[bool] = True
    fixed_ways: ClassVar[bool] = True
    # Meta-batch 32 on Omniglot (5-way), 4 on mini-ImageNet with gradients clipped to ±10; Adam at 1e-3.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"meta_batch": 4},
        "omniglot": {"meta_batch": 32, "queries": 1},
        "mini-imagenet": {"meta_batch": 4, "clip_value": 10.0},
    }
    needs_training: ClassVar[bool] = True
    citation: ClassVar[str] = "Finn, Abbeel and Levine 2017, arXiv:1703.03400"

    inner_learning_rate: float = parameter(0.4, "learning rate of the steps on the support", above=0)
    inner_steps: int = parameter(1, "steps on the support in meta-training", minimum=1)
    test_steps: int = parameter(3, "steps on the support in evaluation", minimum=0)
    order: Literal["first", "second"] = parameter("second", "first leaves gradients of gradients out of meta-training")
    statistics: Literal["queries", "support"] = parameter("queries", STATISTICS_HELP)
    parallel: Literal["auto", "vmap", "loop"] = parameter(
        "auto", "tasks at once (vmap) or one by one (loop); auto: what is faster in meta-training, loop in evaluation"
    )

    def __post_init__(self) -> None:
        """With the support's statistics the method is inductive."""
        super().__post_init__()
        # The class says what holds by default, for listings; the instance says what holds.
        object.__setattr__(self, "transductive", self.statistics == "queries")

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module:
        """The linear classifier."""
        return Head(width, ways, generator)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the output of the network that was adapted to the support.

        Raises:
            UserError: there is no trained classifier, an episode has more classes than it, or the statistics are the queries'
                and episodes have padding, which might be among the queries.
        """
        if self.transductive:
            check_no_padding(episodes)
        loop = self._loop(episodes, self.test_steps)
        scores = query_scores(loop, tasks_of(episodes, self._head(episodes).out_features), self.parallel)
        return fitted_scores(scores, episodes.ways)

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean over tasks of the queries' cross-entropy after adaptation."""
        tasks = tasks_of(episodes, self._head(episodes).out_features)
        return meta_loss(self._loop(episodes, self.inner_steps), tasks, self.parallel)

    def settled(self, episodes: Callable[[], Episodes] | None) -> Self:
        """The method that takes tasks at once or one by one, whichever is faster, where that is left to `parallel=auto`."""
        if self.parallel != "auto":
            return self
        if episodes is None:  # processes that timed it for themselves might choose differently
            return replace(self, parallel="loop")
        drawn = episodes()
        tasks = tasks_of(drawn, self._head(drawn).out_features)
        return replace(self, parallel=faster(self._loop(drawn, self.inner_steps), tasks))

    def _loop(self, episodes: Episodes, steps: int) -> InnerLoop:
        """The adaptation, with the backbone and the learned part that came with the episodes."""
        assert episodes.backbone is not None
        network = Network(episodes.backbone, self._head(episodes), self.statistics)
        return InnerLoop(network, self._rates(episodes, network), steps, self.order == "second")

    def _head(self, episodes: Episodes) -> Head:
        """The classifier's starting point, in the learned part."""
        if not isinstance(episodes.learned, Head):
            raise UserError("the method needs a meta-trained classifier: --checkpoint of a `bench train` with this method")
        return episodes.learned

    def _rates(self, episodes: Episodes, network: Network) -> float | Mapping[str, Tensor]:
        """The learning rate of every parameter."""
        return self.inner_learning_rate
