import csv
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fewbench.benchmark.training.loop import trainer
from fewbench.benchmark.training.loop.checkpoints import AboutBest, read_checkpoint
from fewbench.core.errors import UserError

from .conftest import same


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


def test_a_validation_that_is_no_number_is_refused(train):
    with pytest.raises(UserError, match="the validation after step 8 gave no finite number"):
        train(validate=lambda: float("nan"))


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


def test_a_long_training_has_at_most_so_many_rows_and_those_of_validations(train, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer, "ROWS", 10)
    fitted = train(steps=29, validate_every=10)
    assert [row["step"] for row in fitted.curves.rows] == sorted({*range(3, 30, 3), 10, 20, 29})
