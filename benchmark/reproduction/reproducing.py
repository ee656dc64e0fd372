"""Running a recipe: training, evaluation, comparison. What is there already is not repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...tasks.errors import UsageError
from ...tasks.progress import Progress
from ..config import RunConfig
from ..runner import run
from ..training.meta_training import meta_train
from .comparison import Comparison, compare, description
from .recipe import Evaluation, Recipe


def reproduce(
    recipe: Recipe,
    results: Path,
    progress: Progress,
    device: str = "auto",
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> list[Comparison]:
    """Train a recipe's checkpoint, evaluate it on test episodes and compare.

    A checkpoint that is there, made by this recipe on whatever device, is taken as it is.

    Args:
        recipe: what to run.
        results: folder for `checkpoints` and `records`.
        progress: told of long work.
        device: auto, cpu or cuda.
        time_limit: seconds after which the training stops; the same call goes on.
        overwrite: train and evaluate anew.
        force: begin anew where a training was interrupted.

    Raises:
        UserError: the checkpoint is of another training, the time ran out, or anything else that training and evaluation raise.
    """
    checkpoint = recipe.checkpoint(results)
    if checkpoint.is_file() and description(recipe, results) is None and not overwrite:
        raise UsageError(f"{checkpoint} is of another training than recipe {recipe.name} now is; --overwrite trains it anew")
    if overwrite or not checkpoint.is_file():
        meta_train(replace(recipe.train, device=device), checkpoint, progress, time_limit, overwrite, force)
    for evaluation in recipe.evaluations:
        run(run_config(recipe, evaluation, results, device, overwrite), progress)
    return compare(recipe, results)


def run_config(recipe: Recipe, evaluation: Evaluation, results: Path, device: str, overwrite: bool) -> RunConfig:
    """The evaluation as `bench run` would have it, of the checkpoint in a results folder."""
    of_dataset = {name: value for name, value in recipe.train.settings.items() if name.startswith("dataset.")}
    return RunConfig(
        method=recipe.train.method,
        dataset=recipe.train.dataset,
        ways=evaluation.ways,
        shots=evaluation.shots,
        queries=evaluation.queries,
        episodes=evaluation.episodes,
        seed=evaluation.seed,
        checkpoint=str(recipe.checkpoint(results)),
        settings={**of_dataset, **evaluation.settings},
        device=device,
        output=results,
        overwrite=overwrite,
    )
