"""Fine-tuning a backbone on the pseudo-queries of an episode: the F of P>M>F (Hu et al. 2022, arXiv:2204.07305).

At every step the prototypes are the means of the clean support, and classify changed copies of the support. Adam moves the
unfrozen parameters of the backbone to minimise the cross-entropy, whose gradient flows through prototypes and copies alike.

Episodes of one shape can be fine-tuned together, by torch.func.vmap over copies of the parameters, one for each episode. The
output of the network's frozen part (frozen_part.py) is computed once for the clean support and for each copy.

Letters in shape comments: E episodes, N ways, S support rows, Q query rows, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from .adam import Adam
from .adaptation import AdaptableBackbone
from .augmentation import pseudo_queries
from .frozen_part import FrozenPart
from .layer_outputs import numbers_given
from .similarity import ScaledCosine

Parameters = dict[str, Tensor]
REMEMBERED = 2 * 2**30  # bytes that a chunk's remembered outputs may take
MEMORY_SHARE = 0.4  # share of a GPU's memory that episodes together may take
OF_A_PARAMETER = 5  # numbers in memory for each parameter: itself, its gradient, two moments, and scratch
OF_AN_OUTPUT = 2  # numbers in memory for each output of a layer: itself, and as much inside the layer


class Supports(NamedTuple):
    """The supports of E episodes of one shape, without padding.

    Attributes:
        images: float [E, S, C, H, W].
        labels: int64 [E, S].
        classes: bool [E, N], False where an episode has fewer classes.
        seeds: int64 [E].
    """

    images: Tensor
    labels: Tensor
    classes: Tensor
    seeds: Tensor

    def split(self, size: int) -> Iterator[Supports]:
        """Split into supports of `size` episodes each; the last may have fewer."""
        return (Supports(*parts) for parts in zip(*(tensor.split(size) for tensor in self), strict=True))


@dataclass(frozen=True)
class FineTuning:
    """Fine-tunes a backbone for each episode, and scores the queries.

    Attributes:
        backbone: the backbone; each episode moves copies of its unfrozen parameters.
        cosine: gives the scores; its scale and bias stay as they are.
        frozen: the frozen part of the backbone, if it has one.
        steps: number of updates.
        copies: number of changed copies of the support, which the steps take in turn.
        flip: whether to mirror some copies.
        parallel: fine-tune episodes together (vmap) or one after another (loop); auto: on a GPU as many together as fit into
            memory, on a CPU one after another.
    """

    backbone: AdaptableBackbone
    cosine: ScaledCosine
    frozen: FrozenPart | None
    steps: int
    copies: int
    flip: bool
    parallel: Literal["auto", "vmap", "loop"]

    def scores(self, supports: Supports, query: Tensor, rate: float) -> Tensor:
        """Scores [E, Q, N] of queries [E, Q, C, H, W], with backbones fine-tuned at a learning rate."""
        size = len(query) if rate == 0 else self._at_once(supports)
        parts = zip(supports.split(size), query.split(size), strict=True)
        return torch.cat([self._scores_together(part, queries, rate) for part, queries in parts])

    def _scores_together(self, supports: Supports, query: Tensor, rate: float) -> Tensor:
        images = torch.cat([supports.images, query], dim=1)  # [E, S + Q, C, H, W]
        with torch.no_grad():
            if rate == 0:
                features = self._features({}, images.flatten(0, 1)).unflatten(0, images.shape[:2])
            else:
                features = self._each(self._features, self._adapted(supports, rate), images)  # [E, S + Q, D]
            support, queries = features.split([supports.images.shape[1], query.shape[1]], dim=1)
            return self.cosine(support, supports.labels, queries, supports.classes.shape[1])

    def _adapted(self, supports: Supports, rate: float) -> Parameters:
        """The unfrozen parameters after the steps, [E, …] each."""
        count = len(supports.labels)
        moved = {name: tensor.detach().expand(count, *tensor.shape).clone() for name, tensor in self.backbone.freed().items()}
        optimizer = Adam(list(moved.values()), [rate] * len(moved))
        batches = _Batches(supports, self.copies, self.flip, self.backbone, self._usable(self.frozen, supports))
        for step in range(self.steps):
            slopes = self._gradients(moved, batches, step, supports)
            optimizer.step([slopes[name] for name in moved])
        return moved

    def _gradients(self, moved: Parameters, batches: _Batches, step: int, supports: Supports) -> Parameters:
        """Gradients of each episode's loss with respect to its parameters, [E, …] each."""
        inputs = batches.at(step), supports.labels, supports.classes

        def loss(parameters: Parameters, batch: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
            features = self._features(parameters, batch, batches.frozen)
            support, pseudo = features.chunk(2)  # [S, D] each
            scores = self.cosine(support[None], labels[None], pseudo[None], len(classes))[0]  # [S, N]
            return cross_entropy(scores.masked_fill(~classes, -torch.inf), labels)

        if len(supports.labels) > 1:
            with sdpa_kernel(SDPBackend.MATH):
                return cast(Parameters, vmap(grad(loss))(moved, *inputs))
        leaves = {name: tensor[0].detach().requires_grad_() for name, tensor in moved.items()}
        with torch.enable_grad():
            value = loss(leaves, *(tensor[0] for tensor in inputs))
        slopes = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)  # faster than torch.func's
        return {name: slope[None] for name, slope in zip(leaves, slopes, strict=True)}

    def _features(self, parameters: Parameters, batch: Tensor, frozen: FrozenPart | None = None) -> Tensor:
        """Features [B, D] of images, or of the frozen part's outputs for them."""
        with _precision(self.backbone, batch.device):  # a new context each time, since it caches parameters, which then move
            encode = self.backbone.encode if frozen is None else frozen.encode
            return encode(parameters, batch).float()

    def _each(self, function: Any, parameters: Parameters, images: Tensor) -> Tensor:
        """Apply a function of one episode's parameters and images to every episode."""
        if len(images) > 1:
            with sdpa_kernel(SDPBackend.MATH):  # vmap can batch this attention; it would loop over the fused one
                return cast(Tensor, vmap(function)(parameters, images))
        return function({name: tensor[0] for name, tensor in parameters.items()}, images[0])[None]

    def _usable(self, frozen: FrozenPart | None, supports: Supports) -> FrozenPart | None:
        """The frozen part, if there is one and its outputs fit into memory; else None."""
        if frozen is None:
            return None
        images = supports.labels.numel() * (1 + self.copies)
        return frozen if images * frozen.numbers * supports.images.element_size() <= REMEMBERED else None

    def _at_once(self, supports: Supports) -> int:
        """Number of episodes to fine-tune together. It depends only on device and sizes, so that a run can be repeated."""
        device, episodes = supports.images.device, len(supports.labels)
        if self.parallel != "auto" or device.type != "cuda":
            return episodes if self.parallel == "vmap" else 1
        parameters = sum(tensor.numel() for tensor in self.backbone.freed().values())
        network = self.backbone.network
        outputs = numbers_given(network, lambda: network(supports.images[0, :1])) * 2 * supports.labels.shape[1]
        numbers = OF_A_PARAMETER * parameters + OF_AN_OUTPUT * outputs
        memory = MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory
        return max(1, min(episodes, int(memory / (4 * numbers))))


class _Batches:
    """The batches of the steps: the clean support followed by one of its copies, [E, 2·S, …]."""

    def __init__(
        self, supports: Supports, copies: int, flip: bool, backbone: AdaptableBackbone, frozen: FrozenPart | None
    ) -> None:
        self.supports, self.copies, self.flip, self.backbone, self.frozen = supports, copies, flip, backbone, frozen
        self.support = self._through(supports.images)
        # Outputs of the frozen part by copy, for later steps. Without a frozen part, images are made again instead.
        self.remembered: dict[int, Tensor] = {}

    def at(self, step: int) -> Tensor:
        """The batch of a step, counted from 0."""
        copy = step % self.copies
        if copy in self.remembered:
            return torch.cat([self.support, self.remembered[copy]], dim=1)
        made = self._through(pseudo_queries(self.supports.images, self.supports.seeds, copy, self.flip))
        if self.frozen is not None:
            self.remembered[copy] = made
        return torch.cat([self.support, made], dim=1)

    def _through(self, images: Tensor) -> Tensor:
        if self.frozen is None:
            return images
        with _precision(self.backbone, images.device):
            return self.frozen.remember(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def _precision(backbone: AdaptableBackbone, device: torch.device) -> AbstractContextManager[Any]:
    """Bfloat16 on a GPU, except for networks with batch norm, which vmap cannot run in mixed precision."""
    reduced = device.type == "cuda" and not backbone.has_batch_norm
    return torch.autocast("cuda", torch.bfloat16) if reduced else nullcontext()
