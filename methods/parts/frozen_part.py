"""The frozen part of a backbone, which no unfrozen parameter can change: computed once for an image and remembered.

Fine-tuning the last block encodes the same images at every step, and all blocks before it give the same outputs each time.
Torch itself says which: in a pass with gradients, the output of a module's call requires no grad if it depends on no unfrozen
parameter. The network is cut after the last such call before the first one whose output does. The output at the cut is
remembered. A later pass skips every call up to the cut, and takes the remembered output instead.

This works for networks that are chains up to the cut, such as Conv-4, ResNets and vision transformers with an unfrozen last
block. A trial shows whether a network is one: with moved parameters, the features of a few images must be those of the whole
network. Where they differ, or nothing comes before the first unfrozen parameter, there is no frozen part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .adaptation import AdaptableBackbone

TOLERANCE = 1e-2  # in units of the largest feature, also for reduced precision; a wrong cut gives much larger differences
STRETCH, OFFSET = 1.25, 0.01  # factor and summand that move the unfrozen parameters for the trial


class FrozenPart:
    """Remembers outputs of the frozen part of a backbone, and computes features from them."""

    def __init__(self, backbone: AdaptableBackbone, calls: list[nn.Module], shapes: list[torch.Size], size: torch.Size) -> None:
        """Use `frozen_part` instead, which checks the cut.

        Args:
            backbone: the whole network; calls of this class change it only while they run.
            calls: the modules up to the cut in the order of their calls, none inside another.
            shapes: shapes of their outputs for one image, without the first dimension.
            size: shape of an image, [C, H, W].
        """
        self._network, self._tied, self._calls, self._shapes, self._size = backbone.network, backbone.tied, calls, shapes, size

    @property
    def numbers(self) -> int:
        """Number of values that are remembered for an image."""
        return self._shapes[-1].numel()

    def remember(self, images: Tensor) -> Tensor:
        """Output of the last frozen module for images [B, C, H, W], float [B, …], without gradients."""
        kept: list[Tensor] = []
        last = self._calls[-1]
        count = self._calls.count(last)

        def keep(_: nn.Module, inputs: Any, output: Tensor) -> None:
            kept.append(output)
            if len(kept) == count:
                raise _Reached

        hook = last.register_forward_hook(keep)
        try:
            with torch.no_grad():
                self._network(images)
        except _Reached:
            pass
        finally:
            hook.remove()
        return kept[-1]

    def encode(self, parameters: Mapping[str, Tensor], remembered: Tensor) -> Tensor:
        """Features [B, D] with the unfrozen parameters, from the output of `remember` [B, …]."""
        blank = remembered.new_zeros(())  # takes the place of images and earlier outputs, whose values are not used
        images = blank.float().expand(len(remembered), *self._size)
        outputs = [blank.expand(len(remembered), *shape) for shape in self._shapes[:-1]] + [remembered]
        with _giving(self._calls, iter(outputs)):
            return functional_call(self._network, dict(parameters), (images,), tie_weights=self._tied)


def frozen_part(backbone: AdaptableBackbone, images: Tensor) -> FrozenPart | None:
    """Find the frozen part of a backbone.

    Args:
        backbone: a backbone; its unfrozen parameters are those that require grad.
        images: [B, C, H, W], for the trial; a whole batch where batch norm uses the statistics of the batch.

    Returns:
        None where the network has no such part, or cannot be cut.
    """
    moved = {name: (STRETCH * tensor.detach() + OFFSET).requires_grad_() for name, tensor in backbone.freed().items()}
    if not moved:
        return None
    calls = _calls_without_gradient(backbone.network, moved, images)
    if not calls:
        return None
    found = FrozenPart(backbone, [module for module, _ in calls], [shape for _, shape in calls], images.shape[1:])
    with torch.no_grad():
        expected = backbone.encode(moved, images)
        try:
            remembered = found.remember(images)
            version = remembered._version
            features = found.encode(moved, remembered)
        except (RuntimeError, StopIteration):  # an operation needed a skipped output, or the calls were different
            return None
    if remembered._version != version or features.shape != expected.shape:  # the block writes into its input
        return None
    same = (features - expected).abs().amax() <= TOLERANCE * expected.abs().amax()
    return found if same else None


class _Reached(Exception):
    """The output at the cut has been computed."""


def _calls_without_gradient(
    network: nn.Module, moved: Mapping[str, Tensor], images: Tensor
) -> list[tuple[nn.Module, torch.Size]]:
    """The outermost calls before the first one whose output requires grad, with the shapes of their outputs."""
    finished: list[tuple[nn.Module, torch.Size | None, int]] = []  # in the order of the calls' ends; None: not constant
    depth = 0

    def enter(_: nn.Module, inputs: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1
        constant = isinstance(output, Tensor) and not output.requires_grad and output.shape[:1] == images.shape[:1]
        finished.append((module, output.shape[1:] if constant else None, depth))

    modules = list(network.modules())
    hooks = [module.register_forward_pre_hook(enter) for module in modules]
    hooks += [module.register_forward_hook(leave) for module in modules]
    try:
        with torch.enable_grad():
            functional_call(network, dict(moved), (images,))
    finally:
        for hook in hooks:
            hook.remove()
    return _outermost(finished)


def _outermost(finished: list[tuple[nn.Module, torch.Size | None, int]]) -> list[tuple[nn.Module, torch.Size]]:
    """The constant calls before the first one that is not constant, without calls inside others."""
    outermost: list[tuple[nn.Module, torch.Size, int]] = []
    for module, shape, depth in finished:
        if shape is None:
            break
        while outermost and outermost[-1][2] > depth:  # the calls that ended inside this one
            outermost.pop()
        outermost.append((module, shape, depth))
    return [(module, shape) for module, shape, _ in outermost]


@contextmanager
def _giving(modules: list[nn.Module], outputs: Iterator[Tensor]) -> Iterator[None]:
    """Let calls of these modules return the next of the outputs, without computing anything."""

    def give(*_: Any, **__: Any) -> Tensor:
        return next(outputs)

    stand_ins: set[nn.Module] = set(modules)
    before: dict[nn.Module, Callable[..., Any] | None] = {module: vars(module).get("forward") for module in stand_ins}
    for module in stand_ins:
        module.__dict__["forward"] = give
    try:
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own
