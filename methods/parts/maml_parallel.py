"""One task after another, or all at once: whichever is faster here, measured once for each network, shapes and device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from .maml_engine import InnerLoop, meta_loss_at_once, meta_loss_one_by_one
from .maml_tasks import Task, stacked

Parallel = Literal["vmap", "loop"]

ROUNDS = 2  # timed, after one that warms up; the best counts
LONG = 2.0  # seconds: a round that takes longer is the last, and what warming up adds to it is little
CLEARLY = 1.2  # vmap is chosen where it is so many times as fast: a near tie must not fall this way today, that way tomorrow
MEMORY = 4 * 2**30  # bytes that all tasks at once may take
KEPT = 5  # times the outputs of a pass: what its second derivatives keep under vmap; measured on Conv-4
_chosen: dict[tuple[Any, ...], Parallel] = {}


def meta_loss(loop: InnerLoop, tasks: Sequence[Task], parallel: Literal["auto", "vmap", "loop"]) -> Tensor:
    """Mean query loss [] of the tasks after adaptation; tasks of unequal shape always go one after another."""
    if parallel == "auto":
        parallel = faster(loop, tasks)
    together = stacked(tasks) if parallel == "vmap" else None
    return meta_loss_one_by_one(loop, tasks) if together is None else meta_loss_at_once(loop, together)


def query_scores(loop: InnerLoop, tasks: Sequence[Task], parallel: Literal["auto", "vmap", "loop"]) -> Tensor:
    """Scores [E, Q, W] after adaptation; `auto` is one task after another: a result must not depend on what was measured."""
    together = stacked(tasks) if parallel == "vmap" else None
    with torch.no_grad():
        if together is not None:
            return cast(Tensor, vmap(replace(loop, under_vmap=True).query_scores)(together))
        return torch.stack([loop.query_scores(task) for task in tasks])


def faster(loop: InnerLoop, tasks: Sequence[Task]) -> Parallel:
    """What is faster for a meta-gradient of such tasks; measured at the first call, remembered while the process lives."""
    together = stacked(tasks)
    if together is None or len(tasks) == 1:
        return "loop"
    key = _situation(loop, together)
    if key not in _chosen:
        _chosen[key] = _measured(loop, tasks, together) if _memory(loop, together) <= MEMORY else "loop"
    return _chosen[key]


def _situation(loop: InnerLoop, together: Task) -> tuple[Any, ...]:
    """All that the time depends on."""
    shapes = tuple((name, tensor.shape) for name, tensor in loop.network.parameters.items())
    data = tuple(tensor.shape for tensor in together)
    how = (loop.steps, loop.second_order, loop.network.statistics, torch.is_grad_enabled(), torch.get_num_threads())
    return shapes, data, how, together.support.dtype, str(together.support.device)


def _measured(loop: InnerLoop, tasks: Sequence[Task], together: Task) -> Parallel:
    one_by_one = _seconds(lambda: meta_loss_one_by_one(loop, tasks), loop, together.support.device)
    try:
        at_once = _seconds(lambda: meta_loss_at_once(loop, together), loop, together.support.device)
    except RuntimeError:  # an operation of the network that vmap cannot do, or not enough memory
        return "loop"
    return "vmap" if at_once * CLEARLY < one_by_one else "loop"


def _seconds(loss: Callable[[], Tensor], loop: InnerLoop, device: torch.device) -> float:
    """Of the best round of a loss with its gradients."""
    times = []
    for _ in range(1 + ROUNDS):
        _wait_for(device)
        start = time.perf_counter()
        value = loss()
        if value.requires_grad:
            torch.autograd.grad(value, loop.meta_parameters(), allow_unused=True)
        _wait_for(device)
        times.append(time.perf_counter() - start)
        if times[-1] > LONG:
            break
    return min(times[1:] or times)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(loop: InnerLoop, together: Task) -> float:
    """Bytes that all tasks at once take, about: the outputs of the network's layers, for every image and pass that is kept."""
    sizes: list[int] = []

    def note(_: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    hooks = [layer.register_forward_hook(note) for layer in loop.network.module.modules() if not list(layer.children())]
    with torch.no_grad():
        loop.network.scores(loop.network.parameters, together.support[0])
    for hook in hooks:
        hook.remove()
    episodes, shots = together.support.shape[:2]
    passes = loop.steps * KEPT if loop.second_order else KEPT
    return episodes * sum(sizes) / shots * (shots * passes + together.query.shape[1])
