"""How much a network's layers give, by which is known how many images fit into memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def numbers_given(network: nn.Module, run: Callable[[], object]) -> int:
    """The number of outputs of all layers of a network in one run of it."""
    sizes: list[int] = []

    def note(_: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)
