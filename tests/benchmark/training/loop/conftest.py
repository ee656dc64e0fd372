"""Trainings of a toy, and what tells one from another."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fewbench.benchmark.training.loop.loop import Fitted, LoopOptions, fit
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
