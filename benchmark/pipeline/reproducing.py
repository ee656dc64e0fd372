"""Running a recipe: training, evaluation, comparison. What is there already is not repeated.

It is a pipeline whose files have the recipe's name, so that the page can be made where the data is not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...core.errors import UsageError
from ...core.progress import Progress
from ..config import RunConfig
from ..evaluation.runner import run
from ..training.meta.meta_training import meta_train
from ..training.pretraining import pretrain
from .comparison import Comparison, compare, description, description_of_pretraining
from .recipe import Evaluation, Recipe, load


def reproduce(
    recipe: Recipe,
    results: Path,
    progress: Progress,
    device: str = "auto",
    time_limit: float | None = None,
    overwrite: bool = False,
    force: bool = False,
    weights: Path | None = None,
) -> list[Comparison]:
    """Train a recipe's checkpoint, evaluate it on test episodes and compare.

    A checkpoint that is there, made by this recipe on whatever device, is taken as it is.

    Args:
        recipe: what to run.
        results: folder for `checkpoints` and `records`.
        progress: told of long work.
        device: auto, cpu or cuda.
        time_limit: seconds after which each training stops; the same call goes on.
        overwrite: train and evaluate anew.
        force: begin anew where a training was interrupted.
        weights: the file that the training starts from, where the recipe names weights of a hub.

    Raises:
        UserError: the checkpoint is of another training, the time ran out, or anything else that training and evaluation raise.
    """
    if weights is not None and recipe.train.weights is None:
        raise UsageError(f"--weights {weights}: recipe {recipe.name} starts from no weights of a hub")
    _trained(recipe, results, progress, device, time_limit, overwrite, force, weights)
    for evaluation in recipe.evaluations:
        run(run_config(recipe, evaluation, results, device, overwrite), progress)
    return compare(recipe, results)


def _trained(
    recipe: Recipe,
    results: Path,
    progress: Progress,
    device: str,
    time_limit: float | None,
    overwrite: bool,
    force: bool,
    weights: Path | None = None,
) -> Path:
    """The checkpoint of a recipe, trained where it is not there, after what it starts from."""
    checkpoint = recipe.checkpoint(results)
    if checkpoint.is_file() and not overwrite:
        if description(recipe, results) is None:
            now = f"recipe {recipe.name} now is"
            raise UsageError(f"{checkpoint} is of another training than {now}; --overwrite trains it anew")
        return checkpoint
    start = recipe.train.weights if weights is None else str(weights)
    if recipe.after is not None:  # which has a name of its own, and is trained anew only by that
        start = str(_trained(load(recipe.after), results, progress, device, time_limit, overwrite=False, force=force))
    elif recipe.pretrain is not None:
        start = str(_pretrained(recipe, results, progress, device, time_limit, overwrite, force))
    return meta_train(replace(recipe.train, device=device, weights=start), checkpoint, progress, time_limit, overwrite, force)


def _pretrained(
    recipe: Recipe, results: Path, progress: Progress, device: str, time_limit: float | None, overwrite: bool, force: bool
) -> Path:
    """The weights that the training starts from, pretrained where they are not there."""
    assert recipe.pretrain is not None
    path = recipe.pretrained(results)
    if not overwrite and path.is_file() and description_of_pretraining(recipe, results) is not None:
        return path
    return pretrain(replace(recipe.pretrain, device=device), path, progress, time_limit, overwrite, force)


def run_config(recipe: Recipe, evaluation: Evaluation, results: Path, device: str, overwrite: bool) -> RunConfig:
    """The evaluation as `bench run` would have it, of the checkpoint in a results folder."""
    same = evaluation.dataset in (None, recipe.train.dataset)
    of_dataset = {name: value for name, value in recipe.train.settings.items() if same and name.startswith("dataset.")}
    shape = {} if evaluation.varies else {"ways": evaluation.ways, "shots": evaluation.shots, "queries": evaluation.queries}
    return RunConfig(
        method=recipe.train.method,
        dataset=evaluation.dataset or recipe.train.dataset,
        **shape,  # type: ignore[arg-type]
        sampler=evaluation.sampler,
        tune=evaluation.tune,
        episodes=evaluation.episodes,
        seed=evaluation.seed,
        checkpoint=str(recipe.checkpoint(results)),
        settings={**of_dataset, **evaluation.settings},
        device=device,
        output=results,
        overwrite=overwrite,
    )
