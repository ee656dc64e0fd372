"""Adaptation of a whole network to a task by gradient steps, and the gradient of the outcome with respect to the start.

The engine of MAML (Finn, Abbeel and Levine 2017, arXiv:1703.03400) and its kin. With a task's support loss L_s and query loss
L_q, parameters θ and learning rates α (one number, or one a parameter):

    θ' = θ − α · ∇L_s(θ), repeated;      meta-gradient = d L_q(θ') / dθ

Second order differentiates through ∇L_s; first order takes it as a constant.

Batch norm uses the statistics of the batch at hand: of the support while adapting, and for the queries either their own
(`queries`, transductive) or those that the support has in the adapted network (`support`, inductive). Dropout is off.

Tasks go one after another, each freed before the next, so that memory is that of one task; or all at once by torch.func.vmap,
which spares the overhead of many small operations (maml_parallel.py chooses).

Letters in shape comments: E episodes, W outputs of the head, S support rows, Q query rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from .adaptation import AdaptableBackbone
from .maml_norms import WeightsApart
from .maml_tasks import Task

Parameters = dict[str, Tensor]
Statistics = Literal["queries", "support"]


class Network:
    """Backbone and head as one function of their parameters; the modules that were given are never called or changed."""

    def __init__(self, backbone: nn.Module, head: nn.Module, statistics: Statistics) -> None:
        """Wrap a backbone (images [B, C, H, W] to features [B, D]) and a head (features to scores [B, W])."""
        self.statistics = statistics
        both = nn.Sequential(OrderedDict(backbone=backbone, head=head))
        self._function = AdaptableBackbone(both, "queries")
        self.parameters: Parameters = dict(self.module.named_parameters())

    @property
    def module(self) -> nn.Module:
        """The same function as a module, whose parameters are those of backbone and head themselves."""
        return self._function.network

    def scores(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Scores [B, W] of images normalised by their own statistics."""
        return self._function.encode(parameters, images)

    def support_loss(self, parameters: Parameters, task: Task) -> Tensor:
        """Mean cross-entropy of the support."""
        return classification_loss(self.scores(parameters, task.support), task.support_labels, task.classes)

    def query_scores(self, parameters: Parameters, task: Task) -> Tensor:
        """Scores [Q, W] of the queries; gradients flow through the support's statistics, where those are used."""
        if self.statistics == "queries":
            return self.scores(parameters, task.query)
        shots = len(task.support)
        with self._statistics_of_first(shots):
            return self.scores(parameters, torch.cat([task.support, task.query]))[shots:]

    def query_loss(self, parameters: Parameters, task: Task) -> Tensor:
        """Mean cross-entropy of the queries."""
        return classification_loss(self.query_scores(parameters, task), task.query_labels, task.classes)

    @contextmanager
    def _statistics_of_first(self, rows: int) -> Iterator[None]:
        """Batch norm normalises every row of a batch by mean and variance of its first `rows`.

        The input is normalised before the layer gets it, and the layer's own statistics are set to change nothing: torch's
        batch norm passes no gradient to statistics that it is given.
        """
        norms = [layer for layer in self.module.modules() if isinstance(layer, _BatchNorm)]
        like = next(self.module.parameters())

        def normalise(layer: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
            values: Tensor = inputs[0]  # [B, C] or [B, C, …]
            others = [dimension for dimension in range(values.dim()) if dimension != 1]
            variance, mean = torch.var_mean(values[:rows], dim=others, correction=0, keepdim=True)
            return (values - mean) * torch.rsqrt(variance + cast(_BatchNorm, layer).eps)

        hooks = [layer.register_forward_pre_hook(normalise) for layer in norms]
        for layer in norms:
            layer.running_mean = like.new_zeros(layer.num_features)
            layer.running_var = like.new_full([layer.num_features], 1 - layer.eps)
        try:
            yield
        finally:
            for layer, hook in zip(norms, hooks, strict=True):
                hook.remove()
                layer.running_mean = layer.running_var = None


def classification_loss(scores: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of scores [B, W] over the outputs that stand for a class."""
    return cross_entropy(scores.masked_fill(~classes, -torch.inf), labels)


@dataclass(frozen=True)
class InnerLoop:
    """Gradient steps on the support.

    Attributes:
        network: what is adapted.
        rates: the learning rate, or one tensor of them a parameter, by name.
        steps: how many, each on the whole support.
        second_order: whether what comes out is differentiable through the gradients, or takes them as constants.
        under_vmap: whether it is called under vmap, which needs torch.func's gradients; autograd's are faster, one by one.
    """

    network: Network
    rates: float | Mapping[str, Tensor]
    steps: int
    second_order: bool
    under_vmap: bool = False

    def adapted(self, task: Task) -> Parameters:
        """The parameters after the steps, as a function of the network's own."""
        parameters = self.network.parameters
        for _ in range(self.steps):
            slopes = self._gradient_by_func(parameters, task) if self.under_vmap else self._gradient(parameters, task)
            parameters = {name: tensor - self._rate(name) * slopes[name] for name, tensor in parameters.items()}
        return parameters

    def query_scores(self, task: Task) -> Tensor:
        """Scores [Q, W] after adaptation."""
        return self.network.query_scores(self.adapted(task), task)

    def query_loss(self, task: Task) -> Tensor:
        """The mean cross-entropy of the queries after adaptation."""
        return self.network.query_loss(self.adapted(task), task)

    def meta_parameters(self) -> list[Tensor]:
        """What the query loss is differentiated with respect to: all that requires grad."""
        rates = self.rates.values() if isinstance(self.rates, Mapping) else []
        return [tensor for tensor in [*self.network.parameters.values(), *rates] if tensor.requires_grad]

    def _gradient_by_func(self, parameters: Parameters, task: Task) -> Parameters:
        at = parameters if self.second_order else {name: tensor.detach() for name, tensor in parameters.items()}
        return cast(Parameters, grad(self.network.support_loss)(at, task))

    def _gradient(self, parameters: Parameters, task: Task) -> Parameters:
        kept = self.second_order and torch.is_grad_enabled()
        # What is not to be differentiated through is a leaf of its own.
        at = {name: x if kept and x.requires_grad else x.detach().requires_grad_() for name, x in parameters.items()}
        with torch.enable_grad():
            loss = self.network.support_loss(at, task)
        slopes = torch.autograd.grad(loss, list(at.values()), create_graph=kept, materialize_grads=True)
        return dict(zip(at, slopes, strict=True))

    def _rate(self, name: str) -> float | Tensor:
        return self.rates[name] if isinstance(self.rates, Mapping) else self.rates


def meta_loss_one_by_one(loop: InnerLoop, tasks: Sequence[Task]) -> Tensor:
    """Mean query loss [] of the tasks; a task's gradients, where wanted, are computed and its memory freed before the next."""
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


def meta_loss_at_once(loop: InnerLoop, tasks: Task) -> Tensor:
    """Mean query loss [] of tasks of one shape, stacked."""
    with WeightsApart():
        return cast(Tensor, vmap(replace(loop, under_vmap=True).query_loss)(tasks)).mean()


def with_gradients(value: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar with this value, whose gradients with respect to the parameters are the given ones."""
    return cast(Tensor, _WithGradients.apply(value, list(gradients), *parameters)) if parameters else value


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream[0] * gradient for gradient in ctx.gradients)
