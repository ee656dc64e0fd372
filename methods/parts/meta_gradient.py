"""The meta-gradient: of the loss after adaptation, to the initial parameters (Finn, Abbeel and Levine 2017, arXiv:1703.03400).

With a task's support loss L_s and query loss L_q, parameters θ and learning rates α (one number, or one for each weight):

    θ' = θ − α · ∇L_s(θ), repeated;      meta-gradient = d L_q(θ') / dθ

Second order differentiates through ∇L_s; first order takes ∇L_s as a constant.

Tasks run one after another, which needs the memory of one task, or all at once by torch.func.vmap, which saves the overhead of
many small operations. `faster` measures which way is faster, once for each network, shapes and device.

Letters in shape comments: E episodes, W outputs of the head, S support rows, Q query rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.func import grad, vmap

from .inner_loop import descend
from .layer_outputs import numbers_given
from .task_network import Network, Parameters, Task, stacked
from .vmap_norms import WeightsApart

Parallel = Literal["vmap", "loop"]

ROUNDS = 2  # timed rounds, after one that warms up; the best counts
LONG = 2.0  # seconds: a longer round is the last one, since warming up is a small part of it
CLEARLY = 1.2  # vmap is chosen where it is this many times as fast, so that a near tie gives the same choice every time
MEMORY = 4 * 2**30  # bytes that all tasks at once may take
KEPT = 5  # memory of second derivatives under vmap, in units of the outputs of a pass; measured on Conv-4
_chosen: dict[tuple[Any, ...], Parallel] = {}


@dataclass(frozen=True)
class Adaptation:
    """The inner loop of MAML and Meta-SGD over a whole network.

    Attributes:
        network: the network to adapt.
        rates: one learning rate, or a tensor of learning rates for each parameter, by name.
        steps: number of steps, each on the whole support.
        second_order: whether the result is differentiable through the gradients, or takes them as constants.
        under_vmap: whether it runs under vmap, which needs torch.func's gradients. For single tasks autograd's are faster.
    """

    network: Network
    rates: float | Mapping[str, Tensor]
    steps: int
    second_order: bool
    under_vmap: bool = False

    def adapted(self, task: Task) -> Parameters:
        """The parameters after the steps, as a function of the network's own."""
        gradient = self._gradient_by_func if self.under_vmap else self._gradient
        return descend(
            self.network.parameters,
            self.steps,
            gradient=lambda parameters, _: gradient(parameters, task),
            change=lambda name, slope, _: self._rate(name) * slope,
        )

    def query_scores(self, task: Task) -> Tensor:
        """Scores [Q, W] after adaptation."""
        return self.network.query_scores(self.adapted(task), task)

    def query_loss(self, task: Task) -> Tensor:
        """The mean cross-entropy of the queries after adaptation."""
        return self.network.query_loss(self.adapted(task), task)

    def meta_parameters(self) -> list[Tensor]:
        """The parameters and learning rates that require grad, with respect to which the query loss is differentiated."""
        rates = self.rates.values() if isinstance(self.rates, Mapping) else []
        return [tensor for tensor in [*self.network.parameters.values(), *rates] if tensor.requires_grad]

    def _gradient_by_func(self, parameters: Parameters, task: Task) -> Parameters:
        at = parameters if self.second_order else {name: tensor.detach() for name, tensor in parameters.items()}
        return cast(Parameters, grad(self.network.support_loss)(at, task))

    def _gradient(self, parameters: Parameters, task: Task) -> Parameters:
        kept = self.second_order and torch.is_grad_enabled()
        # A detached leaf stops the differentiation where it is not wanted.
        at = {name: x if kept and x.requires_grad else x.detach().requires_grad_() for name, x in parameters.items()}
        with torch.enable_grad():
            loss = self.network.support_loss(at, task)
        slopes = torch.autograd.grad(loss, list(at.values()), create_graph=kept, materialize_grads=True)
        return dict(zip(at, slopes, strict=True))

    def _rate(self, name: str) -> float | Tensor:
        return self.rates[name] if isinstance(self.rates, Mapping) else self.rates


def meta_loss_one_by_one(loop: Adaptation, tasks: Sequence[Task]) -> Tensor:
    """Mean query loss [] of the tasks, with gradients where they are enabled. Only one task is in memory at a time."""
    parameters = loop.meta_parameters() if torch.is_grad_enabled() else []
    total, sums = torch.zeros((), device=tasks[0].query.device), [torch.zeros_like(tensor) for tensor in parameters]
    for task in tasks:
        loss = loop.query_loss(task)
        if parameters:
            for so_far, slope in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if slope is not None:
                    so_far += slope
        total = total + loss.detach()
    return with_gradients(total / len(tasks), parameters, [so_far / len(tasks) for so_far in sums])


def meta_loss_at_once(loop: Adaptation, tasks: Task) -> Tensor:
    """Mean query loss [] of stacked tasks of one shape."""
    with WeightsApart():
        return cast(Tensor, vmap(replace(loop, under_vmap=True).query_loss)(tasks)).mean()


def with_gradients(value: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Make a scalar from a value and its gradients with respect to the parameters."""
    return cast(Tensor, _WithGradients.apply(value, list(gradients), *parameters)) if parameters else value


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream[0] * gradient for gradient in ctx.gradients)


def meta_loss(loop: Adaptation, tasks: Sequence[Task], parallel: Literal["auto", "vmap", "loop"]) -> Tensor:
    """Mean query loss [] of the tasks after adaptation. Tasks of unequal shape always run one after another."""
    if parallel == "auto":
        parallel = faster(loop, tasks)
    together = stacked(tasks) if parallel == "vmap" else None
    return meta_loss_one_by_one(loop, tasks) if together is None else meta_loss_at_once(loop, together)


def query_scores(loop: Adaptation, tasks: Sequence[Task], parallel: Literal["auto", "vmap", "loop"]) -> Tensor:
    """Scores [E, Q, W] after adaptation. `auto` runs one task after another, since scores must not depend on timings."""
    together = stacked(tasks) if parallel == "vmap" else None
    with torch.no_grad():
        if together is not None:
            return cast(Tensor, vmap(replace(loop, under_vmap=True).query_scores)(together))
        return torch.stack([loop.query_scores(task) for task in tasks])


def faster(loop: Adaptation, tasks: Sequence[Task]) -> Parallel:
    """The faster way to the meta-gradient of such tasks, measured at the first call and remembered by the process."""
    together = stacked(tasks)
    if together is None or len(tasks) == 1:
        return "loop"
    key = _situation(loop, together)
    if key not in _chosen:
        _chosen[key] = _measured(loop, tasks, together) if _memory(loop, together) <= MEMORY else "loop"
    return _chosen[key]


def _situation(loop: Adaptation, together: Task) -> tuple[Any, ...]:
    """Everything that the time depends on."""
    shapes = tuple((name, tensor.shape) for name, tensor in loop.network.parameters.items())
    data = tuple(tensor.shape for tensor in together)
    how = (loop.steps, loop.second_order, loop.network.statistics, torch.is_grad_enabled(), torch.get_num_threads())
    return shapes, data, how, together.support.dtype, str(together.support.device)


def _measured(loop: Adaptation, tasks: Sequence[Task], together: Task) -> Parallel:
    one_by_one = _seconds(lambda: meta_loss_one_by_one(loop, tasks), loop, together.support.device)
    try:
        at_once = _seconds(lambda: meta_loss_at_once(loop, together), loop, together.support.device)
    except RuntimeError:  # an operation of the network that vmap cannot do, or not enough memory
        return "loop"
    return "vmap" if at_once * CLEARLY < one_by_one else "loop"


def _seconds(loss: Callable[[], Tensor], loop: Adaptation, device: torch.device) -> float:
    """Seconds of the best round of a loss with its gradients."""
    times = []
    for _ in range(1 + ROUNDS):
        _wait_for(device)
        start = time.perf_counter()
        value = loss()
        if value.requires_grad:
            torch.autograd.grad(value, loop.meta_parameters(), allow_unused=True)
        _wait_for(device)
        times.append(time.perf_counter() - start)
        if times[-1] > LONG:
            break
    return min(times[1:] or times)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(loop: Adaptation, together: Task) -> float:
    """Estimate of the bytes that all tasks at once take: outputs of the network's layers for every image and kept pass."""
    network, support = loop.network, together.support
    numbers = numbers_given(network.module, lambda: network.scores(network.parameters, support[0]))
    episodes, shots = support.shape[:2]
    passes = loop.steps * KEPT if loop.second_order else KEPT
    return episodes * numbers * support.element_size() / shots * (shots * passes + together.query.shape[1])
