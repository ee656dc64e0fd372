import csv
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fewbench.benchmark.training.loop import trainer
from fewbench.benchmark.training.loop.checkpoints import AboutBest, AboutLast, read_checkpoint
from fewbench.benchmark.training.loop.loop import Fitted, LoopOptions, fit
from fewbench.core.errors import Interrupted, UserError
from fewbench.core.progress import SILENT

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {"steps": 30, "validate_every": 8, "learning_rate": 0.02, "checkpoint_seconds": 0.0}


@pytest.fixture
def train(toy: ModuleType, tmp_path: Path) -> Callable[..., Fitted]:
    """A function that trains a toy learner."""

    def train(
        folder: str = "run",
        learner: Any = None,
        validate: Callable[[], float] | None = None,
        progress: Any = SILENT,
        force: bool = False,
        identity: dict[str, Any] | None = None,
        **options: Any,
    ) -> Fitted:
        learner = toy.ToyLearner() if learner is None else learner
        chosen = LoopOptions(**{**OPTIONS, **options})
        validate = validate or (lambda: toy.validation(learner))
        return fit(learner, validate, chosen, tmp_path / folder, identity or {"toy": 1}, CPU, progress, force)

    return train


def curve(fitted: Fitted) -> list[dict[str, float | None]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in fitted.curves.rows]


def same(first: Fitted, second: Fitted) -> bool:
    tensors = all(torch.equal(value, second.best[name]) for name, value in first.best.items())
    best = (first.best_value, first.best_step) == (second.best_value, second.best_step)
    return tensors and best and curve(first) == curve(second)


def test_a_learner_learns_and_its_best_state_is_kept(train, toy: ModuleType, tmp_path: Path, listener):
    learner = toy.ToyLearner()
    before = toy.validation(learner.eval())
    fitted = train(learner=learner, progress=listener, steps=150, validate_every=50)
    assert (fitted.stopped, fitted.steps_done) == ("done", 150)
    assert fitted.best_value > before + 0.2
    assert toy.validation(learner.eval()) == fitted.best_value == max(value for _, value in fitted.curves.validations())
    assert (fitted.best_step, fitted.best_value) in fitted.curves.validations()
    losses = [row["loss"] for row in fitted.curves.rows]
    assert sum(losses[-50:]) < 0.8 * sum(losses[:50])
    assert listener.said[0].startswith("step 50 of 150: loss ") and ", accuracy 0." in listener.said[0]
    assert read_checkpoint(tmp_path / "run" / "best.safetensors", AboutBest).about["value"] == fitted.best_value
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "last.safetensors",
        "best.safetensors",
        "curves.csv",
        "curves.png",
    }


def test_validations_come_when_asked_for_and_at_the_end_in_evaluation_mode(train, tmp_path: Path):
    fitted = train()  # the toy's validation asserts the mode
    assert [step for step, _ in fitted.curves.validations()] == [8, 16, 24, 30]
    with (tmp_path / "run" / "curves.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [row["step"] for row in rows if row["validation"]] == ["8", "16", "24", "30"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in fitted.curves.rows]


def test_a_later_validation_that_is_as_good_is_no_better(train):
    values = iter([0.5, 0.7, 0.7, 0.6])
    fitted = train(validate=lambda: next(values))
    assert (fitted.best_value, fitted.best_step) == (0.7, 16)


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


def test_a_finished_training_is_not_repeated_but_by_force(train, toy: ModuleType):
    first = train()
    learner = toy.ToyLearner(nan_at=0)  # would fail at once
    assert same(train(learner=learner), first)
    assert toy.validation(learner) == first.best_value
    with pytest.raises(UserError, match="at step 1;"):
        train(learner=toy.ToyLearner(nan_at=0), force=True)


def test_patience_ends_a_training_and_keeps_it_ended(train):
    values = iter([0.5, 0.6, 0.4, 0.6])
    fitted = train(validate=lambda: next(values), steps=100, patience=2)
    assert (fitted.stopped, fitted.steps_done, fitted.best_step) == ("patience", 32, 16)
    assert train(steps=100, patience=2).steps_done == 32


def test_changed_options_and_identities_are_refused_and_listed(train):
    with pytest.raises(UserError, match="after 1 of 30 steps"):
        train(time_limit=1e-9)
    with pytest.raises(UserError, match=r"learning_rate: 0\.02 → 0\.5; optimizer: adamw → sgd\)"):
        train(learning_rate=0.5, optimizer="sgd")
    with pytest.raises(UserError, match=r"\(toy: 1 → 2\)"):
        train(identity={"toy": 2})
    forced = train(learning_rate=0.5, force=True)
    assert forced.steps_done == 30
    assert same(forced, train("anew", learning_rate=0.5))


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


def test_a_validation_that_is_no_number_is_refused(train):
    with pytest.raises(UserError, match="the validation after step 8 gave no finite number"):
        train(validate=lambda: float("nan"))


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


def test_gradients_are_clipped_together_or_one_by_one(train, toy: ModuleType):
    norms, largest = [], []
    for options in ({}, {"clip_norm": 0.1}, {"clip_value": 0.01}):
        learner = toy.ToyLearner()
        train(str(options), learner=learner, steps=1, **options)
        gradients = torch.cat([parameter.grad.flatten() for parameter in learner.parameters()])
        norms.append(gradients.norm().item())
        largest.append(gradients.abs().max().item())
    assert norms[0] > 0.2 and norms[1] == pytest.approx(0.1, rel=1e-3)
    assert largest[0] > 0.05 and largest[2] == pytest.approx(0.01)


def test_the_seed_is_of_dropout_and_torchs_own_generator_is_left_alone(train, toy: ModuleType):
    learner = toy.ToyLearner()
    torch.manual_seed(1)
    first = train("a", learner=learner, steps=3)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert same(first, train("b", steps=3))
    assert not same(first, train("c", steps=3, seed=1))


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


def test_a_long_training_has_at_most_so_many_rows_and_those_of_validations(train, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer, "ROWS", 10)
    fitted = train(steps=29, validate_every=10)
    assert [row["step"] for row in fitted.curves.rows] == sorted({*range(3, 30, 3), 10, 20, 29})
