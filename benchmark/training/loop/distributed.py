"""Several processes, one a device, as `torchrun` starts them: who is who, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ....core.errors import UserError
from .learner import Part

LONGEST_WAIT = timedelta(hours=2)  # for the first process, which validates alone


def part_here() -> Part:
    """Which process this is: what `torchrun` says in the environment, or the only one."""
    return Part(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def local_device(device: torch.device) -> torch.device:
    """The device of this process, where `device` was meant for all of them: under `torchrun` each takes its own GPU."""
    if device.type == "cuda" and part_here().world > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return device


@dataclass(frozen=True)
class Processes:
    """The processes of a training, seen from one of them. With one process nothing here costs anything.

    Attributes:
        part: the share of this one.
        device: of this one.
    """

    part: Part
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and talks."""
        return self.part.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over the processes; its graph must be the same at every step."""
        return module if self.part.world == 1 else DistributedDataParallel(module, static_graph=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes of a tensor that each of them has."""
        if self.part.world > 1:
            distributed.all_reduce(values)
            values = values / self.part.world
        return values

    def from_first(self, value: float) -> float:
        """The first process's number."""
        if self.part.world == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(sent, src=0)
        return sent.item()

    def wait(self) -> None:
        """Until all processes are here."""
        self.from_first(0.0)


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that `torchrun` has started, until the block ends.

    Raises:
        UserError: the environment names other processes but not where they are.
    """
    part = part_here()
    joining = part.world > 1 and not distributed.is_initialized()
    if joining:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
        except ValueError as error:
            raise UserError(f"WORLD_SIZE is {part.world}, but {error}; start several processes with torchrun") from error
    try:
        yield Processes(part, device)
    finally:
        if joining:
            distributed.destroy_process_group()
