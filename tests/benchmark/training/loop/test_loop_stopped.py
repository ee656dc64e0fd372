"""Trainings that end early, by time, error, Ctrl-C or a kill: what is kept, and that they go on bit for bit."""

import errno
import os
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fewbench.benchmark.training.loop import trainer
from fewbench.benchmark.training.loop.checkpoints import AboutBest, AboutLast, read_checkpoint
from fewbench.core.errors import Interrupted, UserError

from .conftest import same


@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [("fp32", "adamw"), ("bf16", "adamw"), ("fp16", "adamw"), ("fp32", "locoprop"), ("bf16", "locoprop")],
)
def test_stopped_by_time_again_and_again_it_ends_as_undisturbed(train, precision: str, optimizer: str, listener):
    chosen = {"steps": 7, "validate_every": 3, "precision": precision, "optimizer": optimizer}
    whole = train("whole", **chosen)
    for step in range(1, 7):
        with pytest.raises(UserError, match=f"stopped by --time-limit after {step} of 7 steps; the same command goes on from"):
            train("parts", **chosen, time_limit=1e-9, progress=listener)
    fitted = train("parts", **chosen, time_limit=1e-9, progress=listener)
    assert same(fitted, whole)
    assert "resuming after step 2 of 7" in listener.said
    assert not [line for line in listener.said if "limit" in line]  # the error says it


def test_nan_stops_at_once_and_keeps_the_last_good_checkpoint(train, toy: ModuleType, tmp_path: Path):
    with pytest.raises(UserError, match=r"the loss is no longer finite at step 12; the last good checkpoint") as caught:
        train(learner=toy.ToyLearner(nan_at=11))
    assert "\n" not in str(caught.value)
    last = read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast)
    assert last.about["step"] == 11
    assert all(value.isfinite().all() for value in last.tensors.values())


def test_parameters_that_overflow_behind_a_finite_loss_are_not_saved(train, toy: ModuleType, tmp_path: Path):
    learner = toy.ToyLearner()

    def overflow(step: int) -> None:
        if step == 4:
            learner.head.weight.data[0, 0] = torch.inf

    learner.after_step = overflow
    with pytest.raises(UserError, match="the parameters are no longer finite after step 5;"):
        train(learner=learner)
    assert read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast).about["step"] == 4


def test_a_full_disk_leaves_the_earlier_checkpoint(train, toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sync, learner = os.fsync, toy.ToyLearner()

    def full(handle: int) -> None:
        sync(handle)
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill_disk(step: int) -> None:
        if step == 5:
            monkeypatch.setattr(os, "fsync", full)

    learner.after_step = fill_disk
    with pytest.raises(UserError, match=r"cannot write .*last\.safetensors: No space left on device"):
        train(learner=learner)
    monkeypatch.setattr(os, "fsync", sync)
    assert read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast).about["step"] == 5
    assert same(train(), train("undisturbed"))


def test_a_checkpoint_cut_in_half_is_told_in_one_line(train, tmp_path: Path):
    train(steps=1)
    path = tmp_path / "run" / "last.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is not a whole checkpoint"):
        train(steps=1)
    assert train(steps=1, force=True).stopped == "done"


def test_a_lost_best_checkpoint_is_told_in_one_line(train, tmp_path: Path):
    train()
    (tmp_path / "run" / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot read the checkpoint.*best\.safetensors"):
        train()


@pytest.mark.parametrize("place", ["step", "validation"])
def test_ctrl_c_saves_whole_steps_and_the_training_goes_on_bit_for_bit(train, toy: ModuleType, tmp_path: Path, place: str):
    learner = toy.ToyLearner()

    def interrupt(at: int) -> None:
        if at == 15:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    def validate() -> float:
        interrupt(int(place == "validation") * 15)
        return toy.validation(learner)

    if place == "step":
        learner.after_step = interrupt
    with pytest.raises(Interrupted, match=r"interrupted after step .* of 30; the same command goes on from there") as caught:
        train(learner=learner, validate=validate, checkpoint_seconds=1000.0)
    assert caught.value.exit_code == 130
    assert (
        read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast).about["step"] == {"step": 16, "validation": 8}[place]
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(train(), train("undisturbed"))


def test_out_of_time_nothing_is_validated(train, tmp_path: Path):
    validated: list[int] = []
    with pytest.raises(UserError, match=r"goes on from there, without --force$"):
        train(time_limit=1e-9, validate=lambda: validated.append(1), force=True)
    assert not validated
    assert read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast).about["step"] == 1


def test_a_kill_goes_on_from_the_validation_before_it(train, toy: ModuleType, tmp_path: Path):
    learner = toy.ToyLearner()

    def die(step: int) -> None:
        if step == 11:
            raise SystemError  # like a kill, it leaves no time to save

    learner.after_step = die
    with pytest.raises(SystemError):
        train(learner=learner, checkpoint_seconds=1000.0)
    assert read_checkpoint(tmp_path / "run" / "last.safetensors", AboutLast).about["step"] == 8
    validated: list[int] = []

    def validate() -> float:
        validated.append(1)
        return toy.validation(again)

    again = toy.ToyLearner()
    assert same(train(learner=again, validate=validate), train("undisturbed"))
    assert len(validated) == 3  # that after step 8 is not made twice


def test_a_kill_between_the_best_checkpoint_and_the_last_costs_no_patience(train, tmp_path, monkeypatch: pytest.MonkeyPatch):
    values = {8: 0.5, 16: 0.7, 24: 0.75, 32: 0.8, 40: 0.6}
    write = trainer.write_checkpoint

    def validations(first: int):
        following = iter(sorted(step for step in values if step >= first))
        return lambda: values[next(following)]

    def killed(path: Path, tensors: Any, about: Any, metadata: Any = None) -> None:
        if path.name == "last.safetensors" and about["step"] == 16:
            raise SystemError
        write(path, tensors, about, metadata)

    options = {"steps": 100, "patience": 1, "checkpoint_seconds": 1000.0}
    whole = train("undisturbed", validate=validations(8), **options)
    monkeypatch.setattr(trainer, "write_checkpoint", killed)
    with pytest.raises(SystemError):
        train(validate=validations(8), **options)
    assert read_checkpoint(tmp_path / "run" / "best.safetensors", AboutBest).about["step"] == 16
    monkeypatch.undo()
    again = train(validate=validations(16), **options)
    assert (again.best_step, again.steps_done) == (whole.best_step, whole.steps_done) == (32, 40)
