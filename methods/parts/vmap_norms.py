"""Normalisations with right second derivatives under torch.func.vmap.

Where weight and bias differ from task to task, vmap over torch's fused batch, instance and layer norm silently gives wrong
second derivatives (torch 2.15, about 1% off; compare pytorch/functorch issue 534). They are right without weight and bias,
which are therefore applied by operations of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FUSED: dict[Callable[..., Any], inspect.Signature] = {
    function: inspect.signature(function)
    for function in (functional.batch_norm, functional.instance_norm, functional.layer_norm)
}


class WeightsApart(TorchFunctionMode):
    """A context in which normalisations apply weight and bias by operations of their own."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call one of torch's functions; a fused normalisation is called without weight and bias, which then follow."""
        kwargs = kwargs or {}
        if func not in FUSED:
            return func(*args, **kwargs)
        given = FUSED[func].bind(*args, **kwargs).arguments
        weight, bias = given.pop("weight", None), given.pop("bias", None)
        values: Tensor = func(**given)
        if func is not functional.layer_norm:  # others have one weight for each channel
            channels = [-1] + [1] * (values.dim() - 2)
            weight, bias = (None if tensor is None else tensor.view(channels) for tensor in (weight, bias))
        values = values if weight is None else values * weight
        return values if bias is None else values + bias
