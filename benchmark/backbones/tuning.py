"""The scopes of `--tune`: the parameters of a backbone that an adapting method may move.

none: nothing. head: nothing of the backbone, only the method's own classifier. norm: scale and shift of normalisation layers
(Frankle, Schwab and Morcos 2021, "Training BatchNorm and only BatchNorm", arXiv:2003.00152). last-block: the last block and
whatever comes after it. lora: low-rank adapters beside linear and convolution layers, which are themselves left alone (Hu et
al. 2022, "LoRA: low-rank adaptation of large language models", arXiv:2106.09685). prompt: learned tokens at every block of a
vision transformer (Jia et al. 2022, arXiv:2203.12119). prompt-pool: learned tokens before the first block, of which each image
chooses some (Wang et al. 2022, arXiv:2112.08654); see visual_prompts.py for both. full: everything.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator

from torch import Generator, nn

from ...core.errors import UsageError, UserError, did_you_mean
from ...methods.parts.random_numbers import seeded
from .base import Backbone
from .visual_prompts import DeepPrompts, PromptPool, deep_prompts_size, prompt_pool_size

SCOPES = ("none", "norm", "head", "last-block", "lora", "prompt", "prompt-pool", "full")
PROMPTS = {"prompt": (DeepPrompts, deep_prompts_size), "prompt-pool": (PromptPool, prompt_pool_size)}
RANK = 8  # of an adapter; its output is scaled by 1
SEED = 0  # of the initial values of adapters and prompts


def check_scope(scope: str) -> None:
    """Check that a scope exists.

    Raises:
        UsageError: with the nearest one.
    """
    if scope not in SCOPES:
        raise UsageError(f"--tune {scope}: no such scope; {did_you_mean(scope, SCOPES)}")


def unfreeze(module: nn.Module, scope: str, backbone: Backbone) -> nn.Module:
    """Let gradients reach exactly the parameters of a scope.

    Args:
        module: the network, on the CPU; its parameters' `requires_grad` is changed, but for `lora` and the prompts, which leave
            it untouched.
        scope: one of `SCOPES`.
        backbone: what made the network.

    Returns:
        The network; for `lora` a copy with adapters, which gives the very same features until they are trained; for `prompt`
        and `prompt-pool` a copy with random tokens beside the image's, which gives others from the start.

    Raises:
        UsageError: an unknown scope.
        UserError: the network has nothing of that scope, or peft is not installed.
    """
    check_scope(scope)
    if scope == "lora":
        return _with_adapters(module, backbone)
    if scope in PROMPTS:
        return _with_prompts(module, scope, backbone)
    names = _names(module, scope, backbone)
    if not names and scope not in ("none", "head"):
        raise UserError(f"--tune {scope}: the backbone has no parameters of that kind; take another scope")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
    return module


def counts(module: nn.Module, backbone: Backbone) -> dict[str, int | None]:
    """How many of the backbone's parameters each scope frees; None where the network has nothing of that scope.

    Args:
        module: the network, without adapters.
        backbone: what made it.
    """
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    numbers: dict[str, int | None] = {}
    for scope in SCOPES:
        if scope == "lora":
            number = sum(_adapter_size(layer) for _, layer in _adaptable(module, backbone))
        elif scope in PROMPTS:
            number = PROMPTS[scope][1](blocks) if (blocks := backbone.token_blocks(module)) else 0
        else:
            number = sum(sizes[name] for name in _names(module, scope, backbone))
        numbers[scope] = number if number or scope in ("none", "head") else None
    return numbers


def _names(module: nn.Module, scope: str, backbone: Backbone) -> set[str]:
    """The parameters of every scope that adds none."""
    if scope == "norm":
        return {
            f"{prefix}.{name}".removeprefix(".")
            for prefix, layer in module.named_modules()
            if isinstance(layer, backbone.norm_layers)
            for name, _ in layer.named_parameters(recurse=False)
        }
    if scope == "last-block":
        return backbone.last_block(module)
    return {name for name, _ in module.named_parameters()} if scope == "full" else set()


def _adaptable(module: nn.Module, backbone: Backbone) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """The layers inside the network that take adapters, by name."""
    forwards = {kind.forward for kind in backbone.low_rank_layers}
    # Attention of torch reads this layer's weight and never calls it: an adapter there would do nothing.
    passed_by = {
        f"{name}.out_proj".removeprefix(".")
        for name, layer in module.named_modules()
        if isinstance(layer, nn.MultiheadAttention)
    }
    for name, layer in module.named_modules():
        if not name or name in passed_by or type(layer).forward not in forwards:
            continue
        # The weight of a grouped convolution is as small as an adapter, and peft cannot halve a rank among many groups.
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            yield name, layer


def _adapter_size(layer: nn.Linear | nn.Conv2d) -> int:
    """Parameters of an adapter: a layer of the same kernel to `RANK` channels, and one without a kernel from there."""
    inputs = layer.weight[0].numel()  # of one output: input channels times pixels of the kernel
    return RANK * (inputs + layer.weight.shape[0])


def _with_adapters(module: nn.Module, backbone: Backbone) -> nn.Module:
    names = [name for name, _ in _adaptable(module, backbone)]
    if not names:
        raise UserError("--tune lora: the backbone has no linear or ungrouped convolution layers; take another scope")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("--tune lora needs the package peft: pip install peft") from error
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="|".join(re.escape(name) for name in names))
    with seeded(SEED):  # peft draws from the global generator
        adapted = inject_adapter_in_model(config, copy.deepcopy(module))
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    return adapted.train(module.training)


def _with_prompts(module: nn.Module, scope: str, backbone: Backbone) -> nn.Module:
    blocks = backbone.token_blocks(module)
    if blocks is None:
        raise UserError(f"--tune {scope}: the backbone is no ViT of timm or open_clip; take another scope")
    prompted = PROMPTS[scope][0](module, blocks, Generator().manual_seed(SEED))
    return prompted.train(module.training)
