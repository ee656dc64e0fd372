"""A backbone whose parameters are an argument, for methods that adapt copies of them to an episode.

Batch norm needs a decision that other layers do not: which mean and variance normalise an image.

- running: those of the pretraining. The features of an image do not depend on other images.
- support: those of the episode's support, for its queries too. Inductive: a query's features do not depend on other queries.
- queries: those of the batch, so that queries are normalised by queries, as in most published results of MAML. Transductive.

Bronskill, Gordon, Requeima, Nowozin and Turner 2020, "TaskNorm: rethinking batch normalization for meta-learning",
arXiv:2003.03284, compare the three.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

Statistics = Literal["running", "support", "queries"]


class AdaptableBackbone:
    """Encodes images with given parameters, in evaluation mode (no dropout) except for the statistics of batch norm.

    The given module is never called: a second set of module objects shares its parameters and has copies of its buffers.
    Nothing has to be restored therefore, not even after an exception.
    """

    def __init__(self, backbone: nn.Module, statistics: Statistics = "running") -> None:
        """Wrap a backbone.

        Args:
            backbone: module from float [B, C, H, W] to features [B, D].
            statistics: source of batch norm's mean and variance; see the top of this file.
        """
        self.statistics = statistics
        shared = {id(parameter): parameter for parameter in backbone.parameters()}
        self.network = copy.deepcopy(backbone, shared).eval()
        # functional_call looks for tied parameters at every call, which costs a small network a tenth of its time.
        self.tied = len([*self.network.named_parameters(remove_duplicate=False)]) > len([*self.network.parameters()])
        self._norms = [layer for layer in self.network.modules() if isinstance(layer, _BatchNorm)]
        if statistics != "running":
            self._forget()

    @property
    def has_batch_norm(self) -> bool:
        """Whether the backbone has batch norm, and `statistics` thus makes a difference."""
        return bool(self._norms)

    def freed(self) -> dict[str, Tensor]:
        """New copies of the unfrozen parameters (those that require grad), by name; leaves that require grad, too."""
        parameters = self.network.named_parameters()
        return {name: tensor.detach().clone().requires_grad_() for name, tensor in parameters if tensor.requires_grad}

    def encode(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Features [B, D] of images [B, C, H, W], normalised by these images unless the statistics are the running ones.

        Args:
            parameters: parameters by name, in the place of the backbone's own; missing ones are the backbone's own.
            images: the support, an augmentation of it, or any other batch.
        """
        return functional_call(self.network, dict(parameters), (images,), tie_weights=self.tied)

    def encode_queries(self, parameters: Mapping[str, Tensor], queries: Tensor, support: Tensor) -> Tensor:
        """Features [Q, D] of queries [Q, C, H, W], normalised by the support [S, C, H, W] with statistics="support".

        No gradient flows through the statistics of the support.
        """
        if self.statistics != "support":
            return self.encode(parameters, queries)
        with self._statistics_of(parameters, support):
            return self.encode(parameters, queries)

    @contextmanager
    def _statistics_of(self, parameters: Mapping[str, Tensor], images: Tensor) -> Iterator[None]:
        """Let batch norm use the statistics of its inputs for these images."""
        hooks = [layer.register_forward_pre_hook(_take_statistics) for layer in self._norms]
        try:
            with torch.no_grad():
                self.encode(parameters, images)
            for hook in hooks:
                hook.remove()
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._forget()

    def _forget(self) -> None:
        for layer in self._norms:
            layer.running_mean = layer.running_var = None  # batch norm without them uses the batch's own


def _take_statistics(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Store mean and (biased) variance of a batch norm's input for each channel, as its running statistics."""
    values: Tensor = inputs[0]  # [B, C] or [B, C, …]
    others = [dimension for dimension in range(values.dim()) if dimension != 1]
    layer.running_var, layer.running_mean = torch.var_mean(values, dim=others, correction=0)
