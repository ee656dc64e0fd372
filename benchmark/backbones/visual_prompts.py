"""Learned tokens that go through the blocks of a frozen vision transformer beside those of the image.

`DeepPrompts`: a set of tokens at every block, in the place of what the block before made of its own. Jia, Tang, Chen, Cardie,
Belongie, Hariharan and Lim 2022, "Visual prompt tuning", arXiv:2203.12119, "VPT-deep". Differs from the released code: Xavier's
bound is that of each block's tokens, not that of the projection of patches; the tokens have no dropout.

`PromptPool`: a pool of prompts with keys. Those whose keys are the most similar to what the frozen network makes of an image
go through all blocks with it; chosen keys are drawn to the images that chose them. Wang, Zhang, Lee, Zhang, Sun, Ren, Su,
Perot, Dy and Pfister 2022, "Learning to prompt for continual learning", arXiv:2112.08654, "L2P". Differs from the paper: the
feature is the network's own, not the mean of what becomes of the prompts; the keys are compared with that feature too, which is
the class token's only in networks that take it; the pool is learned anew in every episode.

In both the tokens are random at first, so features differ from the network's before any training. They have no position and
stand behind all others: attention does not look at their order.

Letters in shape comments: B images, T tokens, W width of a token, D feature width, P prompts of a block, M prompts of a pool,
N chosen of them, L tokens of each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from .base import TokenBlocks

PROMPTS = 10  # P; the paper tries 1 to 200
POOL, CHOSEN, LENGTH = 10, 5, 5  # M, N and L, the paper's for CIFAR-100
PULL = 0.5  # λ, the weight of the keys' distances in the loss, the paper's


class DeepPrompts(nn.Module):
    """A network with prompts at every block, which alone have `requires_grad`."""

    def __init__(self, network: nn.Module, blocks: TokenBlocks, generator: Generator) -> None:
        """Copy the network.

        Args:
            network: float [B, C, H, W] to features [B, D].
            blocks: its blocks.
            generator: on the CPU; draws the prompts.
        """
        super().__init__()
        self.network, self.blocks = copy.deepcopy(network).requires_grad_(False), blocks
        self.prompts = nn.Parameter(torch.empty(len(blocks.names), PROMPTS, blocks.width))  # [blocks, P, W]
        _initialise(self.prompts, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, C, H, W] to features [B, D]."""
        places = ((name, name, tokens) for name, tokens in zip(self.blocks.names, self.prompts, strict=True))
        with _inserted(self.network, places):
            return self.network(images)


class PromptPool(nn.Module):
    """A network with prompts that each image chooses; they and their keys alone have `requires_grad`.

    A gradient that is taken through the features draws the chosen keys to the images, whatever the loss is.
    """

    def __init__(self, network: nn.Module, blocks: TokenBlocks, generator: Generator) -> None:
        """Copy the network; the arguments are those of `DeepPrompts`."""
        super().__init__()
        self.network, self.blocks = copy.deepcopy(network).requires_grad_(False), blocks
        self.prompts = nn.Parameter(torch.empty(POOL, LENGTH, blocks.width))  # [M, L, W]
        self.keys = nn.Parameter(torch.empty(POOL, blocks.features))  # [M, D]
        _initialise(self.prompts, generator)
        _initialise(self.keys[None], generator)

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, C, H, W] to features [B, D]."""
        with torch.no_grad():
            query = functional.normalize(self.network(images), dim=1)  # [B, D]
        cosines = query @ functional.normalize(self.keys, dim=1).T  # [B, M]
        nearest, chosen = cosines.topk(CHOSEN, dim=1)  # both [B, N]
        tokens = self.prompts[chosen].flatten(1, 2)  # [B, N·L, W]
        first, last = self.blocks.names[0], self.blocks.names[-1]
        with _inserted(self.network, [(first, last, tokens)]):
            features = self.network(images)
        return _AddToLoss.apply(features, PULL * (1 - nearest).sum(dim=1).mean())


def deep_prompts_size(blocks: TokenBlocks) -> int:
    """How many numbers `DeepPrompts` learns."""
    return len(blocks.names) * PROMPTS * blocks.width


def prompt_pool_size(blocks: TokenBlocks) -> int:
    """How many numbers `PromptPool` learns."""
    return POOL * (LENGTH * blocks.width + blocks.features)


@torch.no_grad()
def _initialise(prompts: Tensor, generator: Generator) -> None:
    """Fill each matrix of [any, rows, columns] with Xavier's uniform values, of bound √(6 / (rows + columns))."""
    for matrix in prompts:
        nn.init.xavier_uniform_(matrix, generator=generator)


@contextmanager
def _inserted(network: nn.Module, places: Iterable[tuple[str, str, Tensor]]) -> Iterator[None]:
    """Let tokens in before some blocks and out again after others.

    Hooks that last for one call leave the network's own code and names as they are, and deep copies without ties to it.

    Args:
        network: whose blocks take tokens [B, T, W] first.
        places: name of the block before which tokens come in, of that after which they leave, and tokens [P, W] or [B, P, W].
    """
    hooks = []
    try:
        for first, last, tokens in places:
            hooks.append(network.get_submodule(first).register_forward_pre_hook(_appending(tokens)))
            hooks.append(network.get_submodule(last).register_forward_hook(_dropping(tokens.shape[-2])))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _appending(tokens: Tensor) -> Any:
    def hook(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x: Tensor = inputs[0]  # [B, T, W]
        return torch.cat([x, tokens.to(x.dtype).expand(len(x), -1, -1)], dim=1), *inputs[1:]

    return hook


def _dropping(count: int) -> Any:
    def hook(block: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output[:, :-count]

    return hook


class _AddToLoss(torch.autograd.Function):
    """Features as they are; backwards, the gradient of a further loss is added to that of whatever comes of the features.

    So the methods that train a network need not know that a part of it has a loss of its own.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, loss: Tensor) -> Tensor:
        """The features; `loss` is a scalar."""
        return features.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of the loss by itself is 1."""
        return gradients[0], gradients[0].new_ones(())
