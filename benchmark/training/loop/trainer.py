"""One training under way: its steps, what is measured of them, and the checkpoints that it can go on from."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ....core.errors import UserError
from ....core.files import make_folder, sweep, write_atomically
from ....core.progress import Progress
from ...backbones.layers import begin_step
from ...backbones.weights.checkpoint import KEY as DESCRIPTION
from ...records.provenance import package_version
from ..options import LoopOptions
from .checkpoints import (
    ANEW,
    About,
    AboutBest,
    AboutLast,
    Checkpoint,
    check_identity,
    load_module,
    read_checkpoint,
    write_checkpoint,
)
from .curves import OWN_COLUMNS, ROWS, Curves
from .distributed import Processes
from .learner import Learner, dropout_seed, step_generator
from .optimisers import load_optimizer_state, make_optimizer, make_schedule, optimizer_state

LAST, BEST, CSV, PNG = "last.safetensors", "best.safetensors", "curves.csv", "curves.png"
PACKAGES = ("fewbench", "torch", "timm")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
READ_EVERY = {"cpu": 1, "cuda": 8}  # steps; reading a loss waits for the device to end them


class Best(NamedTuple):
    """The best validation so far.

    Attributes:
        value: higher is better.
        step: steps done before it.
    """

    value: float
    step: int


class Trainer:
    """A learner with its optimiser, at a step.

    The best checkpoint is the authority on the best validation: it is written as soon as there is a better one. A training
    killed before the next last checkpoint makes those steps again, comes to the same value there, and leaves it as it is.
    """

    def __init__(
        self,
        learner: Learner,
        validate: Callable[[], float],
        options: LoopOptions,
        folder: Path,
        identity: Mapping[str, object],
        progress: Progress,
        group: Processes,
        describe: Callable[[Trainer], str] | None = None,
    ) -> None:
        """Begin at step 0; see `loop.fit` for the arguments."""
        self.learner = learner.to(group.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.validate, self.options, self.folder, self.progress, self.group = validate, options, folder, progress, group
        self.describe = describe
        whole = {**identity, "loop": options.identity(), "processes": group.part.world}
        self.identity: Mapping[str, object] = json.loads(json.dumps(whole))
        self.trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(learner, options)
        self.schedule = make_schedule(self.optimizer, options)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=options.precision == "fp16")
        self.module = group.wrap(learner)
        self.step, self.curves = 0, Curves()
        self.best: Best | None = None
        self.stale = 0  # validations since the best
        self.row_every = math.ceil(options.steps / ROWS)
        self.names: list[str] = []
        self.pending: list[Tensor] = []  # loss and figures of the steps that were not read yet, each [1 + figures]
        self.began = self.saved = time.perf_counter()
        self.seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Of training, by this call and those before it."""
        return self.seconds_before + self.seconds_here

    @property
    def seconds_here(self) -> float:
        """Of this call."""
        return time.perf_counter() - self.began

    def make_step(self) -> None:
        """One update of the parameters."""
        options, part = self.options, self.group.part
        self.schedule.step_update(self.step)
        self._seed_dropout()
        begin_step(self.learner, self.step, step_generator(options.seed, self.step, self.group.device, part))
        batch = self.learner.batch(self.step, part)
        with torch.autocast(self.group.device.type, DTYPES[options.precision], enabled=options.precision != "fp32"):
            loss, figures = self.module(batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if options.clip_norm is not None or options.clip_value is not None:
            self.scaler.unscale_(self.optimizer)
        if options.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, options.clip_norm)
        if options.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.trained, options.clip_value)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.learner.after_step(self.step)
        self.names = ["loss", *figures]
        measured = torch.stack([value.detach().float() for value in (loss, *figures.values())])
        self.pending.append(self.group.mean(measured))
        self.step += 1
        row = self.step % self.row_every == 0 or self._at_validation
        if row or self.step % READ_EVERY[self.group.device.type] == 0:
            self.read()
        if row:
            self.curves.close_row(self.step, self.optimizer.param_groups[0]["lr"], self.seconds)

    def read(self) -> None:
        """Take the pending losses in.

        Raises:
            UserError: one of them is not finite.
        """
        rows = torch.stack(self.pending).tolist() if self.pending else []
        for step, row in enumerate(rows, start=self.step - len(rows) + 1):
            if not math.isfinite(row[0]):
                raise UserError(f"the loss is no longer finite at step {step}; {self._remedy()}")
            self.curves.add(dict(zip(self.names, row, strict=True)))
        self.pending.clear()

    @property
    def _at_validation(self) -> bool:
        between = self.step > 0 and self.step % self.options.validate_every == 0
        return between or self.step == self.options.steps

    @property
    def validation_due(self) -> bool:
        """Whether the learner as it is should be validated and was not yet."""
        return self._at_validation and self.curves.rows[-1]["validation"] is None

    def measure(self) -> float:
        """Validate in the first process, while the others wait.

        Raises:
            UserError: a parameter or the value is not finite.
        """
        value = 0.0
        if self.group.first:
            self._check_parameters()
            self.learner.eval()
            try:
                value = float(self.validate())
            finally:
                self.learner.train()
            if not math.isfinite(value):
                raise UserError(f"the validation after step {self.step} gave no finite number; {self._remedy()}")
        return self.group.from_first(value)

    def note(self, value: float) -> None:
        """Take a validation in, and write the learner down if it is the best so far."""
        self.curves.validated(value)
        self.stale += 1
        if self.best is not None and self.best.step == self.step:  # a process was killed after it had written this very best
            self.stale = 0
        elif self.best is None or value > self.best.value:
            self.best, self.stale = Best(value, self.step), 0
            if self.group.first:
                # With its description it can be evaluated before the training is finished.
                described = None if self.describe is None else {DESCRIPTION: self.describe(self)}
                about: AboutBest = {**self._about(), "value": value}
                write_checkpoint(self.folder / BEST, self._learner_tensors(), about, described)
        row = self.curves.rows[-1]
        told = "".join(f"{name} {row[name]:.3f}, " for name in row if name not in OWN_COLUMNS)
        self.progress.say(f"step {self.step} of {self.options.steps}: {told}validation {value:.4f}")

    def out_of_patience(self) -> bool:
        """Whether the latest validations, as many as `patience`, were no better than one before."""
        return self.options.patience is not None and self.stale >= self.options.patience

    def save_if_due(self) -> None:
        """Save where the last checkpoint is old enough and no loss is pending."""
        if not self.pending and time.perf_counter() - self.saved >= self.options.checkpoint_seconds:
            self.save()

    def save(self, picture: bool = False) -> None:
        """Write the last checkpoint and the curves, in the first process.

        Raises:
            UserError: a parameter is not finite (the earlier checkpoint stays), or a file cannot be written.
        """
        if self.group.first:
            self._check_parameters()
            tensors, plain = optimizer_state(self.optimizer)
            about: AboutLast = {
                **self._about(),
                "curves": self.curves.to_json(),
                "seconds": self.seconds,
                "optimizer": plain,
                "scaler": self.scaler.state_dict(),
            }
            named = {f"optimizer.{name}": value for name, value in tensors.items()}
            write_checkpoint(self.folder / LAST, {**self._learner_tensors(), **named}, about)
            write_atomically(self.folder / CSV, self.curves.csv())
            if picture:
                write_atomically(self.folder / PNG, self.curves.png())
        self.saved = time.perf_counter()

    def resume(self, force: bool) -> None:
        """Go on from the last checkpoint, if there is one; otherwise write the first, so that a full disk is found out now.

        Raises:
            UserError: it is of another training, or damaged; or none can be written.
        """
        make_folder(self.folder)
        if self.group.first:
            sweep(self.folder)
        last = None if force or not (self.folder / LAST).exists() else read_checkpoint(self.folder / LAST, AboutLast)
        if last is not None and last.about["step"] > 0:
            self._go_on_from(last)
            self.group.wait()
            return
        self.group.wait()  # nobody looks for a checkpoint any more
        if self.group.first:
            for name in (BEST, LAST, CSV, PNG):
                (self.folder / name).unlink(missing_ok=True)
            self.save()
        if self.options.steps == 0:
            self.curves.close_row(0, 0.0, 0.0)  # which the only validation belongs to

    def _go_on_from(self, last: Checkpoint[AboutLast]) -> None:
        check_identity(last, self.identity)
        load_module(self.learner, last, "learner")
        about = last.about
        load_optimizer_state(self.optimizer, last.under("optimizer"), about["optimizer"])
        self.scaler.load_state_dict(about["scaler"])
        self.step, self.seconds_before = about["step"], about["seconds"]
        self.curves = Curves.from_json(about["curves"])
        if self.curves.validations() or (self.folder / BEST).exists():
            best = read_checkpoint(self.folder / BEST, AboutBest)
            check_identity(best, self.identity)
            self.best = Best(best.about["value"], best.about["step"])
            self.stale = sum(step > self.best.step for step, _ in self.curves.validations())
        self.progress.say(f"resuming after step {self.step} of {self.options.steps}")
        for name, version in about["packages"].items():
            if version != package_version(name):
                self.progress.say(f"the checkpoint was made with {name} {version}; the last bits of the curve may differ")

    def load_best(self) -> Best:
        """Give the learner its best state, in all processes; the training has come to its end, so there is one."""
        assert self.best is not None
        self.group.wait()  # until the first process has written it
        load_module(self.learner, read_checkpoint(self.folder / BEST, AboutBest), "learner")
        self.learner.eval()
        return self.best

    def _seed_dropout(self) -> None:
        """Seed torch's own generators: not by torch.manual_seed, which takes a millisecond where CUDA is not in use."""
        seed, device = dropout_seed(self.options.seed, self.step, self.group.part), self.group.device
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)

    def _learner_tensors(self) -> dict[str, Tensor]:
        return {f"learner.{name}": value for name, value in self.learner.state_dict().items()}

    def _about(self) -> About:
        packages = {name: package_version(name) for name in PACKAGES}
        return {"identity": self.identity, "step": self.step, "packages": packages}

    def _check_parameters(self) -> None:
        finite = torch.stack([parameter.detach().isfinite().all() for parameter in self.trained]).all()
        if not finite:
            raise UserError(f"the parameters are no longer finite after step {self.step}; {self._remedy()}")

    def _remedy(self) -> str:
        return f"the last good checkpoint stays in {self.folder}; take a smaller learning rate or clip gradients ({ANEW})"
