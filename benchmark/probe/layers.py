"""The layers of a network, and what they give for an image.

Letters in shape comments: B images, C channels, H and W positions, T tokens, D numbers of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbones.base import Backbone

MOST = 1024  # numbers of a layer: maps of more are averaged over squares of positions
FEATURE = "feature"


def layer_names(recipe: Backbone, network: nn.Module) -> list[str]:
    """The modules whose outputs are the layers: the blocks of a transformer, and of other networks their parts in order."""
    blocks = recipe.token_blocks(network)
    if blocks is not None:
        return [*blocks.names]
    prefix, inside = "", _inside(network)
    while len(inside) == 1 and _inside(inside[0][1]):  # a wrapper, such as the image tower of a CLIP model
        prefix, inside = f"{prefix}{inside[0][0]}.", _inside(inside[0][1])
    return list(_parts(inside, prefix))


def _inside(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that have parameters, by name."""
    return [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]


def _parts(children: list[tuple[str, nn.Module]], prefix: str) -> Iterator[str]:
    """The names of parts; a sequence of sequences is taken apart, single layers are not."""
    for name, child in children:
        inside = _inside(child)
        if isinstance(child, nn.Sequential) and inside and all([*one.children()] for _, one in inside):
            yield from _parts(inside, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


class Layers(nn.Module):
    """A network that gives the numbers of all its layers beside each other, [B, sum of D].

    Attributes:
        widths: D of each layer by name, in order, the feature last. The last block is left out where the feature has as many
            numbers, since they are the same, or nearly.
    """

    def __init__(self, recipe: Backbone, network: nn.Module, example: Tensor) -> None:
        """Find the layers by encoding an example [1, C, H, W]."""
        super().__init__()
        self.network, self.names = network, layer_names(recipe, network)
        with torch.no_grad():
            outputs = self._outputs(example)
        if len(outputs) > 1 and outputs[-2].shape == outputs[-1].shape:
            self.names.pop()
            del outputs[-2]
        self.widths = dict(zip([*self.names, FEATURE], (one.shape[1] for one in outputs), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to [B, sum of D]."""
        return torch.cat(self._outputs(x), dim=1)

    def _outputs(self, x: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}

        def keep(name: str) -> None:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                found[name] = pooled(output)

            hooks.append(self.network.get_submodule(name).register_forward_hook(hook))

        hooks: list[torch.utils.hooks.RemovableHandle] = []
        try:
            for name in self.names:
                keep(name)
            feature = self.network(x)
        finally:
            for hook in hooks:
                hook.remove()
        return [*(found[name] for name in self.names), feature]


def pooled(output: Tensor) -> Tensor:
    """A layer's output as [B, D]: the mean over tokens [B, T, D], or maps [B, C, H, W] averaged to at most 1,024 numbers."""
    if output.dim() == 3:
        return output.mean(dim=1)
    if output.dim() != 4:
        return output.flatten(1)
    side = max(1, int((MOST / output.shape[1]) ** 0.5))
    height, width = (min(side, there) for there in output.shape[2:])
    return functional.adaptive_avg_pool2d(output, (height, width)).flatten(1)
