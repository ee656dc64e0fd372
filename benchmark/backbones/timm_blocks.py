"""The blocks of a network of timm: the last one by the groups of its layer-wise learning rates, and those that take tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

from timm.models import group_parameters
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .base import TokenBlocks

Matcher = dict[str, str | list[tuple[str, tuple[int, ...] | None]]]  # patterns of names, as timm writes them
# For the networks of timm that have no groups: numbered parts of numbered parts, and numbered parts.
NUMBERED: Matcher = {"blocks": [(r"^\w+\.(\d+)\.\w+\.(\d+)", None), (r"^\w+\.(\d+)", None)]}


def last_block(module: nn.Module) -> set[str]:
    """Names of the parameters of the last block and of whatever comes after it.

    A block is a group that timm numbers and that holds more than norms. What timm numbers not (a head convolution, attention
    pooling, the layers before VGG's classifier) comes after the block, if it is defined after it.

    Args:
        module: a network of timm, with a classifier or without.
    """
    matcher = getattr(module, "group_matcher", lambda coarse: NUMBERED)(coarse=False)
    is_numbered = _numbered(matcher)
    order = {name: place for place, (name, _) in enumerate(module.named_parameters())}
    after: list[str] = []
    for _, group in sorted(group_parameters(module, matcher).items(), reverse=True):
        if any(is_numbered(name) and module.get_parameter(name).dim() > 1 for name in group):
            start = min(order[name] for name in group if is_numbered(name))
            return {name for name in [*group, *after] if name in group or order[name] > start}
        after += group
    return set(after)


def token_blocks(module: nn.Module) -> TokenBlocks | None:
    """The blocks of timm's `VisionTransformer`, made without a classifier; None: the network is none.

    Its other transformers have windows or relative positions, and so no place for a further token.
    """
    if not isinstance(module, VisionTransformer):
        return None
    names = tuple(f"blocks.{i}" for i in range(len(module.blocks)))
    return TokenBlocks(names, width=module.embed_dim, features=module.embed_dim)


def _numbered(matcher: Matcher | Callable[[str], object]) -> Callable[[str], bool]:
    """Whether timm gives a parameter a number of its own: what the first pattern that takes its name captures."""
    if callable(matcher):  # Inception's, which number every part
        return lambda name: True
    patterns: list[str] = []
    for one in matcher.values():
        patterns += [one] if isinstance(one, str) else [pattern for pattern, _ in one]

    def is_numbered(name: str) -> bool:
        found = next(filter(None, (re.match(pattern, name) for pattern in patterns)), None)
        return found is not None and any(number is not None for number in found.groups())

    return is_numbered
