"""Settings of the user that contradict the description of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from ....core.errors import UsageError, UserError
from ....core.options import parameters_of
from ..base import Backbone, Preprocess, initial_network
from .matching import fill


def check_described(
    module: nn.Module,
    backbone: Backbone,
    described: Backbone,
    preprocess: Preprocess,
    tensors: Mapping[str, Tensor],
    weights: Path,
) -> None:
    """Check that weights give the features that they were trained to give, with the parameters that the user set.

    It is not enough that tensors match: those of group norm fit layer norm. Parameters of the training alone, such as the rate
    of drop-block, may differ.

    Args:
        module: what `backbone` made; filled where the tensors fit.
        backbone: with the parameters that the user set.
        described: with those of the description.
        preprocess: how images are made ready.
        tensors: of the weights.
        weights: their file, for the message.

    Raises:
        UsageError: one line that names the parameters.
        UserError: the weights do not fit their own description.
    """
    made, _ = initial_network(described, preprocess)
    fill(made, tensors, weights.name, "of its description", needed=1.0)
    if not _same_features(module, made, preprocess, tensors):
        before, now = _values(described), _values(backbone)
        differing = ", ".join(
            f"{name}={before[name]}" if name in before else f"{name} at its default"
            for name in now
            if now[name] != before.get(name)
        )
        raise UsageError(f"weights {weights.stem} were made with {differing}; leave the setting out, or pretrain with it")


def _same_features(module: nn.Module, made: nn.Module, preprocess: Preprocess, tensors: Mapping[str, Tensor]) -> bool:
    shape = (2, preprocess.channels, preprocess.size, preprocess.size)
    noise = torch.randn(shape, generator=Generator().manual_seed(0))
    try:
        fill(module, tensors, "", "", needed=1.0)
    except UserError:
        return False
    with torch.no_grad():
        found, expected = module(noise), made(noise)
    return found.shape == expected.shape and torch.allclose(found, expected)


def _values(backbone: Backbone) -> dict[str, object]:
    """All parameters of a backbone, those at their defaults included."""
    return {**{one.name: one.default for one in parameters_of(type(backbone))}, **backbone.parameters}
