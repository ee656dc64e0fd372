"""Checks before the first stage, so that a typo in the last stage is not found out after hours of training."""

from __future__ import annotations

from ...core.errors import UsageError
from ...core.options import build
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import split_name
from ...tasks.samplers import check_ways
from .. import registry
from ..backbones.base import initial_network
from ..backbones.tuning import check_scope, unfreeze
from ..backbones.weights.loading import make_backbone
from ..config import RunConfig
from ..device import choose_device
from ..evaluation.checks import check_method
from ..evaluation.plan import make_method
from ..evaluation.preconditions import check_other_splits, preview
from ..evaluation.sampling import sampling_of
from ..training.meta.meta_training import decide
from ..training.meta.train_config import TrainConfig
from ..training.plan import TrainingPlan
from ..training.pretrain_config import PretrainConfig
from ..training.recipes import find_recipe
from .stages import Pipeline, PipelineRun


def check(pipeline: Pipeline) -> None:
    """Look up every name and parameter of every stage that its weights do not decide.

    Raises:
        UsageError: an unknown one, a value of the wrong type, or a method that does not do what its stage asks.
    """
    if pipeline.pretrain is not None:
        _check_pretraining(pipeline.pretrain)
    if pipeline.train is not None:
        _check_training(pipeline.train)
    for one in pipeline.runs:
        _check_run(one, pipeline)


def check_scopes(pipeline: Pipeline, plan: TrainingPlan) -> None:
    """Check that the network has what the runs tune; known as soon as a training is planned.

    The network is built anew, since that of the training may have more (a text tower) and be on a GPU.

    Raises:
        UserError: the scope does not fit the network, such as prompts without a ViT.
    """
    for scope in sorted({one.config.tune for one in pipeline.runs if one.after is not None and one.config.tune is not None}):
        network, _ = initial_network(plan.backbone, plan.preprocess)
        unfreeze(network, scope, plan.backbone)


def _check_pretraining(config: PretrainConfig) -> None:
    _check_dataset(config)
    make_backbone(config.backbone, config.settings_of("backbone"))
    build(find_recipe(config.recipe), config.settings_of("recipe"), f"recipe {config.recipe}")


def _check_training(config: TrainConfig) -> None:
    registry.find("backbones", config.backbone)
    decide(config, choose_device(config.device))


def _check_run(run: PipelineRun, pipeline: Pipeline) -> None:
    config = run.config
    dataset = _check_dataset(config)
    sampling = sampling_of(config)
    check_ways(sampling.shape["ways"], len(dataset.class_list(split_name(config.split))))
    check_scope(config.tune or "none")
    method, section = make_method(config.method, config.settings_of("method"))
    tune, _ = check_method(config, method)
    sampling.over(dataset, preview(dataset, config.split))
    check_other_splits(method, section.name, tune, sampling, dataset, lambda split: preview(dataset, split))
    if method.needs_training and not pipeline.learned_by(run):
        raise UsageError(f"[[run]]: method {config.method} has to be trained; add [train] with that method")


def _check_dataset(config: PretrainConfig | RunConfig) -> Dataset:
    return registry.make("datasets", config.dataset, config.settings_of("dataset"))
