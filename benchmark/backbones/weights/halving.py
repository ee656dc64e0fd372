"""A checkpoint of fewbench in half the bytes: matrices and convolutions as float16, everything else as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ....core.errors import UsageError, UserError
from .checkpoint import read_checkpoint, write_checkpoint


def halve(file: Path, output: Path) -> Path:
    """Write a checkpoint's tensors of two or more dimensions as float16, with its description.

    Vectors stay as they are: the running variances of batch norm may leave float16's range, and they weigh nothing.
    Networks compute in float32 from them all the same.

    Raises:
        UsageError: nobody knows which network the weights fill.
        UserError: the file is damaged, or a weight is beyond float16's range.
    """
    checkpoint = read_checkpoint(file)
    if checkpoint.description is None:
        raise UsageError(f"{file}: without a description; --half takes what bench pretrain, train or convert-weights wrote")
    made_by = replace(checkpoint.description.made_by, half_of=checkpoint.sha256)
    tensors = {name: _half(name, tensor, file) for name, tensor in checkpoint.tensors.items()}
    write_checkpoint(output, tensors, replace(checkpoint.description, made_by=made_by))
    return output


def _half(name: str, tensor: Tensor, file: Path) -> Tensor:
    if tensor.dim() < 2 or not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    if not half.isfinite().all():
        raise UserError(f"{file}: {name} holds {tensor.abs().max().item():g}, and float16 ends at 65,504")
    return half
