"""Episodes as tasks without padding, and backbone with classifier as one function of their weights.

Batch norm uses the statistics of the support while adapting. For the queries it uses either their own statistics (`queries`,
transductive) or those of the support in the adapted network (`support`, inductive). Dropout is off.

Letters in shape comments: E episodes, N ways, W outputs of the head, S support rows, Q query rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.errors import UserError
from ...tasks.episodes import Episodes
from .adaptation import AdaptableBackbone

Parameters = dict[str, Tensor]
Statistics = Literal["queries", "support"]


class Task(NamedTuple):
    """One episode without padding; or several episodes of one shape, with a leading E in every tensor.

    Attributes:
        support: float [S, C, H, W].
        support_labels: int64 [S].
        query: float [Q, C, H, W].
        query_labels: int64 [Q]; empty where they are not known.
        classes: bool [W], True for the outputs of the head that belong to a class of the episode.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor
    classes: Tensor


def tasks_of(episodes: Episodes, outputs: int) -> list[Task]:
    """Turn each episode into a task without padding.

    Args:
        episodes: episodes with images, and with `query_labels` in training.
        outputs: number W of outputs of the meta-trained head; episodes with fewer classes use the first outputs.

    Raises:
        UserError: an episode has more classes than the head.
    """
    classes = fitted_classes(episodes, outputs)
    tasks = []
    for episode, labels in enumerate(episodes.support_labels):
        present = labels >= 0
        support, query = episodes.support[episode, present], episodes.query[episode]
        query_labels = labels[:0]
        if episodes.query_labels is not None:
            query_labels = episodes.query_labels[episode]
            query, query_labels = query[query_labels >= 0], query_labels[query_labels >= 0]
        tasks.append(Task(support, labels[present], query, query_labels, classes[episode]))
    return tasks


def stacked(tasks: Sequence[Task]) -> Task | None:
    """Stack the tasks into one with a leading E in every tensor; None where their shapes differ."""
    shapes = {tuple(tensor.shape for tensor in task) for task in tasks}
    return Task(*(torch.stack(column) for column in zip(*tasks, strict=True))) if len(shapes) == 1 else None


def fitted_classes(episodes: Episodes, outputs: int) -> Tensor:
    """Mark the outputs of a head that belong to a class of the episode: bool [E, W].

    Raises:
        UserError: an episode has more classes than there are outputs.
    """
    if episodes.class_mask[:, outputs:].any():
        most = int(episodes.class_mask.sum(dim=1).max())
        raise UserError(f"the classifier was meta-trained for {outputs} ways and an episode has {most}: take --ways {outputs}")
    return pad(episodes.class_mask, (0, outputs - episodes.ways), value=False)  # a negative number cuts


def fitted_scores(scores: Tensor, ways: int) -> Tensor:
    """Cut or pad scores [E, Q, W] of a head to scores [E, Q, N]; padding is for classes that no episode has."""
    return pad(scores, (0, ways - scores.shape[-1]))


class Network:
    """Backbone and head as one function of their parameters. The given modules are never called or changed."""

    def __init__(self, backbone: nn.Module, head: nn.Module, statistics: Statistics) -> None:
        """Wrap a backbone, from images [B, C, H, W] to features [B, D], and a head, from features to scores [B, W]."""
        self.statistics = statistics
        both = nn.Sequential(OrderedDict(backbone=backbone, head=head))
        self._function = AdaptableBackbone(both, "queries")
        self.parameters: Parameters = dict(self.module.named_parameters())

    @property
    def module(self) -> nn.Module:
        """The same function as a module with the parameters of backbone and head themselves."""
        return self._function.network

    def scores(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Scores [B, W] of images, normalised by their own statistics."""
        return self._function.encode(parameters, images)

    def support_loss(self, parameters: Parameters, task: Task) -> Tensor:
        """Mean cross-entropy of the support."""
        return classification_loss(self.scores(parameters, task.support), task.support_labels, task.classes)

    def query_scores(self, parameters: Parameters, task: Task) -> Tensor:
        """Scores [Q, W] of the queries. Gradients flow through the support's statistics where they are used."""
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
        """Let batch norm normalise every row of a batch by mean and variance of its first `rows`.

        A hook normalises the input before the layer, and the layer's own statistics are set to change nothing, since torch's
        batch norm passes no gradient to given statistics.
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
    """Mean cross-entropy of scores [B, W] over the outputs that belong to a class."""
    return cross_entropy(scores.masked_fill(~classes, -torch.inf), labels)
