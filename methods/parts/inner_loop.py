"""The inner loop of MAML and its kin: a meta-trained classifier, adapted to each episode by gradient steps on its support.

The loop is the same for all of them, θ ← θ − change(∇L(θ)) with L the loss on the support. What differs is what θ holds (the
whole network; for ANIL the classifier) and the change: the gradient times one learning rate, times one for every weight
(Meta-SGD), or Adam's (Reptile).
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
    """A linear classifier whose initial weights come from a generator that is passed: Glorot-uniform, and biases of zero."""

    def __init__(self, width: int, ways: int, generator: Generator) -> None:
        """Make the classifier of features [.., width] into `ways` classes."""
        super().__init__(width, ways)
        nn.init.xavier_uniform_(self.weight, generator=generator)
        nn.init.zeros_(self.bias)

    def reset_parameters(self) -> None:
        """Do nothing: torch's initialisation would draw from the global generator."""


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
    """The parameters after so many steps.

    Args:
        parameters: by name, where the steps start; left as they are.
        steps: counted from 0.
        gradient: of the loss at some parameters, in a step.
        change: what is taken off a parameter, from its name, its gradient and the step.
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
        """The classifier in the learned part, where adaptation starts.

        Raises:
            UserError: there is none.
        """
        return meta_trained(Head, learned)

    def network(self, episodes: Episodes) -> Network:
        """Backbone and classifier that came with the episodes."""
        assert episodes.backbone is not None
        return Network(episodes.backbone, self.head(episodes.learned), "queries" if self.transductive else "support")

    def tasks(self, episodes: Episodes) -> list[Task]:
        """Each episode without its padding.

        Raises:
            UserError: there is no trained classifier, an episode has more classes than it, or a transductive method is given
                padding without the labels of the queries, which would tell the queries from it.
        """
        if self.transductive and episodes.query_labels is None and episodes.padded:
            raise UserError(
                "batch norm by the queries needs episodes of one shape; maml and reptile take --set statistics=support too"
            )
        return tasks_of(episodes, self.head(episodes.learned).out_features)


@dataclass(frozen=True)
class AdaptedNetwork(InnerLoopMethod):
    """An inner loop over the whole network, whose batch norm may normalise queries in two ways."""

    inputs: ClassVar[Literal["features", "images"]] = "images"
    transductive: ClassVar[bool] = True

    statistics: Literal["queries", "support"] = parameter(
        "queries", "batch norm of the queries: by the queries themselves (transductive) or by the support"
    )

    def __post_init__(self) -> None:
        """With the support's statistics the method is inductive."""
        super().__post_init__()
        # The class says what holds by default, for listings; the instance says what holds.
        object.__setattr__(self, "transductive", self.statistics == "queries")


def meta_trained(kind: type[Module], learned: nn.Module | None) -> Module:
    """What was meta-trained, of a certain kind.

    Raises:
        UserError: it is not there.
    """
    if not isinstance(learned, kind):
        raise UserError("the method needs what was meta-trained with it: --checkpoint of a `bench train` with this method")
    return learned
