"""The training loop: it trains any learner and knows nothing of what is trained.

It is written by hand because a training that was killed has to end in the same weights, bit for bit, as one that was not: data
and randomness of a step are functions of seed and step, checkpoints lie between steps, and nothing is pickled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ....core.errors import Interrupted, UserError
from ....core.progress import SILENT, Advance, Progress
from ...device import tf32
from ..options import LoopOptions
from .curves import Curves
from .distributed import processes
from .interruption import Interruptions
from .learner import Learner
from .trainer import Trainer

__all__ = ["Fitted", "LoopOptions", "fit"]
BAR_SECONDS = 0.2  # between two movements of the progress bar
Stopped = Literal["done", "patience", "unfinished"]


@dataclass(frozen=True)
class Fitted:
    """A training's end. The learner then holds its best state.

    Attributes:
        best: the learner's whole state at its best validation, on its device.
        best_value: of that validation.
        best_step: steps done before it.
        steps_done: in all, by this call and those before it.
        curves: what was measured.
        seconds: of training, in all.
        stopped: why it ended.
    """

    best: dict[str, Tensor]
    best_value: float
    best_step: int
    steps_done: int
    curves: Curves
    seconds: float
    stopped: Stopped


def fit(
    learner: Learner,
    validate: Callable[[], float],
    options: LoopOptions,
    folder: Path,
    identity: Mapping[str, object],
    device: torch.device,
    progress: Progress,
    force: bool = False,
    describe: Callable[[Fitted], str] | None = None,
) -> Fitted:
    """Train a learner; where an earlier call was killed, interrupted or out of time, go on from its last checkpoint.

    On one device the result is that of an undisturbed training, bit for bit. Under `torchrun` the processes share each batch
    (`Part`), the first one alone validates, writes and talks, and all must see the folder.

    Args:
        learner: moved to `device` and left there, holding its best state.
        validate: how good the learner is, higher is better; called in evaluation mode.
        options: of the loop. Together with `identity` they say which training this is.
        folder: for last.safetensors, best.safetensors, curves.csv and curves.png.
        identity: what is trained, as JSON can hold it; a checkpoint with another one is refused.
        device: of this process (`distributed.local_device`).
        progress: shown the steps, and told of every validation.
        force: begin anew, whatever the folder holds.
        describe: gives the description of the best state so far, to be kept with it.

    Raises:
        Interrupted: Ctrl-C; a checkpoint is written first.
        UserError: time was out (a checkpoint is written first), the checkpoint is of another training or damaged, the loss is
            no longer finite, or a file cannot be written.
    """
    exact = options.precision == "fp32"
    with processes(device) as group, tf32(device, allowed=not exact), _reproducible(device), Interruptions() as interruptions:
        heard = progress if group.first else SILENT

        def described(so_far: Trainer) -> str:
            assert describe is not None and so_far.best is not None
            return describe(Fitted({}, *so_far.best, so_far.step, so_far.curves, so_far.seconds, "unfinished"))

        trainer = Trainer(learner, validate, options, folder, identity, heard, group, described if describe else None)
        trainer.resume(force)
        again = "the same command goes on from there" + (", without --force" if force else "")
        try:
            stopped = _run(trainer, interruptions)
        except KeyboardInterrupt:
            interruptions.ignore()
            trainer.read()
            trainer.save(picture=True)
            raise Interrupted(f"interrupted after step {trainer.step} of {options.steps}; {again}") from None
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(f"out of GPU memory at step {trainer.step + 1}; take a smaller batch") from error
        if stopped is None:
            raise UserError(f"stopped by --time-limit after {trainer.step} of {options.steps} steps; {again}")
        best = trainer.load_best()
        return Fitted(learner.state_dict(), *best, trainer.step, trainer.curves, trainer.seconds, stopped)


def _run(trainer: Trainer, interruptions: Interruptions) -> Stopped | None:
    """Make the steps that are missing, or as many as there is patience or time for; None: time was out."""
    steps, first_here = trainer.options.steps, trainer.step
    trainer.learner.train()
    with trainer.progress.track("training", steps) as advance:
        bar = _Bar(advance, trainer.step)
        while True:
            if trainer.validation_due:
                value = trainer.measure()
                with interruptions.held():
                    trainer.note(value)
                    trainer.save()  # a validation may have taken longer than the steps before it
            stopped = _stop(trainer)
            if stopped is not None or _out_of_time(trainer, first_here):
                break
            with interruptions.held():
                trainer.make_step()
            trainer.save_if_due()
            bar.move_to(trainer.step)
        bar.move_to(trainer.step, now=True)
    trainer.save(picture=True)
    return stopped


def _stop(trainer: Trainer) -> Stopped | None:
    """Why the training has come to its end, the same in all processes."""
    if trainer.step >= trainer.options.steps:
        return "done"
    return "patience" if trainer.out_of_patience() else None


def _out_of_time(trainer: Trainer, first_here: int) -> bool:
    """Whether this call must stop, the same in all processes."""
    limit = trainer.options.time_limit
    # At least one step a call, or a training whose start takes longer than its limit would never end.
    if limit is None or trainer.step == first_here or trainer.pending:
        return False
    return trainer.group.from_first(trainer.seconds_here) >= limit


class _Bar:
    """A progress bar that is not moved more often than anyone can see."""

    def __init__(self, advance: Advance, step: int) -> None:
        self.advance, self.shown, self.moved = advance, 0, 0.0
        self.move_to(step, now=True)

    def move_to(self, step: int, now: bool = False) -> None:
        if now or time.perf_counter() - self.moved >= BAR_SECONDS:
            self.advance(step - self.shown)
            self.shown, self.moved = step, time.perf_counter()


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Torch's own generators as they were, at the end; and convolutions on a GPU that sum in the same order each time."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before
