"""Optimisers and learning rates, from timm by name, or LocoProp; and their state as tensors and JSON."""

from __future__ import annotations

from typing import TypedDict

import torch
from timm import optim
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import Tensor, nn

from ....core.errors import FEW_NAMES, UsageError, did_you_mean
from ..options import LoopOptions
from .locoprop import LocoProp

LOCOPROP = "locoprop"  # not of timm
WARMUP_START = 0.01  # of the learning rate
Plain = bool | int | float | str | None  # what JSON holds and reads back unchanged


class OptimizerValues(TypedDict):
    """The state of an optimiser that is no tensor: values by name, by the number of a parameter or of a group."""

    state: dict[str, dict[str, Plain]]
    groups: dict[str, dict[str, Plain]]


class Warmup(TypedDict):
    """The arguments of timm's schedules for the first steps."""

    warmup_t: int
    warmup_lr_init: float
    t_in_epochs: bool


def make_optimizer(module: nn.Module, options: LoopOptions) -> torch.optim.Optimizer:
    """The optimiser of a module's parameters.

    Raises:
        UsageError: there is none of that name, or it cannot be made here.
    """
    name = options.optimizer
    if name == LOCOPROP:
        if options.precision == "fp16":  # whose scaler leaves steps out, and their inputs would be counted with the next
            raise UsageError("optimizer locoprop: take --precision fp32 or bf16, not fp16")
        return LocoProp(module, options.learning_rate, options.weight_decay, options.momentum)
    known = [LOCOPROP, *(str(known) for known in optim.list_optimizers())]  # pyright: ignore[reportPrivateImportUsage]
    if name not in known:
        raise UsageError(f"unknown optimizer '{name}'; {did_you_mean(name, known, FEW_NAMES)}")
    try:
        optimizer = optim.create_optimizer_v2(  # pyright: ignore[reportPrivateImportUsage]
            module, name, lr=options.learning_rate, weight_decay=options.weight_decay, momentum=options.momentum
        )
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"optimizer {name} cannot be made here ({reason}); take another, such as adamw") from error
    if getattr(optimizer, "is_second_order", False):
        raise UsageError(f"optimizer {name} needs second derivatives of the loss; take another, such as adamw")
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, options: LoopOptions) -> Scheduler:
    """The learning rate as a function of the step alone: `step_update(step)` before each step, from 0."""
    warmup: Warmup = {
        "warmup_t": options.warmup_steps,
        "warmup_lr_init": WARMUP_START * options.learning_rate,
        "t_in_epochs": False,
    }
    if options.schedule == "cosine":
        return CosineLRScheduler(optimizer, t_initial=max(2, options.steps), **warmup)  # of one step timm warns
    if options.schedule == "step":
        return StepLRScheduler(optimizer, decay_t=options.halve_every or 1, decay_rate=0.5, **warmup)
    return StepLRScheduler(optimizer, decay_t=max(1, options.steps), decay_rate=1.0, **warmup)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], OptimizerValues]:
    """The state of an optimiser.

    Returns:
        Tensors by name, and the rest.

    Raises:
        UsageError: the state has values that are neither tensors nor JSON.
    """
    content = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: OptimizerValues = {"state": {}, "groups": {}}
    for section, found in (("state", content["state"]), ("groups", dict(enumerate(content["param_groups"])))):
        for number, values in found.items():
            rest = plain[section][str(number)] = {}
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{section}.{number}.{name}"] = value
                elif isinstance(value, Plain):
                    rest[name] = value
                elif section == "state":  # in groups what is left are the parameters' numbers, and options such as betas
                    raise UsageError(f"the state of this optimizer ({name}) cannot be saved; take another, such as adamw")
    return tensors, plain


def load_optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: OptimizerValues) -> None:
    """Give an optimiser of the same parameters back what `optimizer_state` took."""
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Plain | Tensor]] = {int(number): dict(values) for number, values in plain["state"].items()}
    for number, values in plain["groups"].items():
        groups[int(number)].update(values)
    for key, value in tensors.items():
        section, number, name = key.split(".", maxsplit=2)
        if section == "groups":
            groups[int(number)][name] = value
            continue
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:  # in the parameter's memory format, for speed and for sums in the same order
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state[int(number)][name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
