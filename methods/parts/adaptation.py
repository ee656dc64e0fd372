"""A backbone whose parameters are an argument, for methods that adapt it to an episode and leave it unchanged.

Batch norm needs a decision that other layers do not: whose mean and variance an image is normalised by.

- running: those that the pretraining kept. What one image gives depends on no other image.
- support: those of the episode's support, for its queries too. Inductive: a query's features depend on no other query.
- queries: those of every batch itself, so the queries are normalised by the queries, as in most published results of MAML.
  Transductive.

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
    """Encodes images with parameters that are passed, in evaluation mode (no dropout) but for the statistics of batch norm.

    The module that was given is never called: a second set of module objects shares its parameters and has copies of its
    buffers. So nothing has to be put back, not even after an exception.
    """

    def __init__(self, backbone: nn.Module, statistics: Statistics = "running") -> None:
        """Wrap a backbone.

        Args:
            backbone: float [B, C, H, W] to features [B, D].
            statistics: whose mean and variance batch norm uses; see the top of this file.
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
        """Whether it makes any difference whose statistics are used."""
        return bool(self._norms)

    def freed(self) -> dict[str, Tensor]:
        """Fresh copies of the parameters that may move (those that require grad), by name; leaves that require grad too."""
        parameters = self.network.named_parameters()
        return {name: tensor.detach().clone().requires_grad_() for name, tensor in parameters if tensor.requires_grad}

    def encode(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Features [B, D] of images [B, C, H, W]; unless the statistics are the running ones, by those of these images.

        Args:
            parameters: by name, in the place of the backbone's own; those left out are its own.
            images: the support, an augmentation of it, or any other batch.
        """
        return functional_call(self.network, dict(parameters), (images,), tie_weights=self.tied)

    def encode_queries(self, parameters: Mapping[str, Tensor], queries: Tensor, support: Tensor) -> Tensor:
        """Features [Q, D] of queries [Q, C, H, W]; the support [S, C, H, W] gives statistics where they are the support's.

        No gradient flows through the statistics of the support.
        """
        if self.statistics != "support":
            return self.encode(parameters, queries)
        with self._statistics_of(parameters, support):
            return self.encode(parameters, queries)

    @contextmanager
    def _statistics_of(self, parameters: Mapping[str, Tensor], images: Tensor) -> Iterator[None]:
        """Batch norm uses the statistics that it has when these images are encoded."""
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
    """Keep mean and (biased) variance of what comes into a batch norm, a channel at a time, as its running ones."""
    values: Tensor = inputs[0]  # [B, C] or [B, C, …]
    others = [dimension for dimension in range(values.dim()) if dimension != 1]
    layer.running_var, layer.running_mean = torch.var_mean(values, dim=others, correction=0)
