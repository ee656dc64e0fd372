"""The inner loop of MAML and its relatives: a meta-trained classifier is adapted to each episode by gradient steps.

All of them share the loop θ ← θ − change(∇L(θ)), with L the loss on the support. They differ in θ (the whole network, or the
classifier for ANIL) and in the change: the gradient times one learning rate, the gradient times a rate for every weight
(Meta-SGD), or Adam's step (Reptile).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Generator, Tensor, nn

from ...core.errors import UserError
from ..base import Episodes, Method, parameter
from .task_network import Network, Parameters, Task, tasks_of

Module = TypeVar("Module", bound=nn.Module)


class Head(nn.Linear):
    """A linear classifier from features [.., width] to scores [.., ways].

    The initial weights are Glorot-uniform and come from a given generator; the biases are zero.
    """

    def __init__(self, width: int, ways: int, generator: Generator) -> None:
        super().__init__(width, ways)
        nn.init.xavier_uniform_(self.weight, generator=generator)
        nn.init.zeros_(self.bias)

    def reset_parameters(self) -> None:
        """Do nothing, since torch's initialisation would draw from the global generator."""


class RatedHead(nn.Module):
    """A classifier, and a learning rate for every weight of backbone and classifier, in the order of their parameters."""

    def __init__(self, backbone: nn.Module, head: Head, rate: float) -> None:
        """Start every learning rate at `rate`."""
        super().__init__()
        self.head = head
        parameters = [*backbone.parameters(), *head.parameters()]
        self.rates = nn.ParameterList([nn.Parameter(torch.full_like(tensor, rate)) for tensor in parameters])


def descend(
    parameters: Parameters,
    steps: int,
    gradient: Callable[[Parameters, int], Parameters],
    change: Callable[[str, Tensor, int], Tensor],
) -> Parameters:
    """Take gradient steps.

    Args:
        parameters: initial parameters by name; not changed.
        steps: number of steps.
        gradient: gives the gradient of the loss by name, from parameters and the number of the step (from 0).
        change: gives the number to subtract from a parameter, from its name, its gradient and the number of the step.

    Returns:
        The parameters after the steps, by name.
    """
    for step in range(steps):
        slopes = gradient(parameters, step)
        parameters = {name: tensor - change(name, slopes[name], step) for name, tensor in parameters.items()}
    return parameters


@dataclass(frozen=True)
class InnerLoopMethod(Method):
    """A method whose meta-trained classifier is adapted to each episode by gradient steps."""

    meta_trained: ClassVar[bool] = True
    fixed_ways: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True

    inner_learning_rate: float = parameter(0.4, "learning rate of the steps on the support", above=0)
    inner_steps: int = parameter(1, "steps on the support in meta-training", minimum=1)
    test_steps: int = parameter(3, "steps on the support in evaluation", minimum=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module:
        """The linear classifier."""
        return Head(width, ways, generator)

    def head(self, learned: nn.Module | None) -> Head:
        """The classifier in the learned module, from which adaptation starts.

        Raises:
            UserError: there is no learned module of this method.
        """
        return meta_trained(Head, learned)

    def network(self, episodes: Episodes) -> Network:
        """The backbone and the classifier of the episodes, as one function."""
        assert episodes.backbone is not None
        return Network(episodes.backbone, self.head(episodes.learned), "queries" if self.transductive else "support")

    def tasks(self, episodes: Episodes) -> list[Task]:
        """Turn each episode into a task without padding.

        Raises:
            UserError: there is no trained classifier, an episode has more classes than the classifier, or the method is
                transductive and episodes have padding, which cannot be told from queries without query labels.
        """
        if self.transductive and episodes.query_labels is None and episodes.padded:
            raise UserError(
                "batch norm by the queries needs episodes of one shape; maml and reptile take --set statistics=support too"
            )
        return tasks_of(episodes, self.head(episodes.learned).out_features)


@dataclass(frozen=True)
class RatedInnerLoop(InnerLoopMethod):
    """An inner loop with a meta-trained learning rate for every weight (Meta-SGD), of one step."""

    inner_learning_rate: float = parameter(0.1, "initial learning rate of every weight", above=0)
    test_steps: int = parameter(1, "steps on the support in evaluation", minimum=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> nn.Module:
        """The linear classifier and the learning rates."""
        return RatedHead(backbone, Head(width, ways, generator), self.inner_learning_rate)

    def head(self, learned: nn.Module | None) -> Head:
        """The classifier beside the learning rates."""
        return meta_trained(RatedHead, learned).head


@dataclass(frozen=True)
class AdaptedNetwork(InnerLoopMethod):
    """An inner loop over the whole network, with a choice of batch-norm statistics for the queries."""

    inputs: ClassVar[Literal["features", "images"]] = "images"
    transductive: ClassVar[bool] = True

    statistics: Literal["queries", "support"] = parameter(
        "queries", "batch norm of the queries: by the queries themselves (transductive) or by the support"
    )

    def __post_init__(self) -> None:
        """Set `transductive`: the method is, with the statistics of the queries."""
        super().__post_init__()
        # The class attribute is the default, for listings.
        object.__setattr__(self, "transductive", self.statistics == "queries")


def meta_trained(kind: type[Module], learned: nn.Module | None) -> Module:
    """Check that a learned module is of a kind, and return it.

    Raises:
        UserError: the module is absent or of another kind.
    """
    if not isinstance(learned, kind):
        raise UserError("the method needs what was meta-trained with it: --checkpoint of a `bench train` with this method")
    return learned
