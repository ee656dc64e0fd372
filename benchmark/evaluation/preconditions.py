"""Checks of the data that a run needs, before anything is encoded; for a grid, before its first run starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from torch import Generator, nn

from ...core.errors import UsageError, UserError
from ...core.options import shown
from ...core.progress import SILENT
from ...methods.base import Method
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.episodes import ABSENT
from ...tasks.samplers import BATCH, Sampler
from .. import registry
from ..backbones.base import Backbone
from ..config import RunConfig
from ..plugin_errors import in_one_line
from .checks import CHOICES, setting_of
from .choose import choice_sampler
from .evaluate import IMAGE_CHUNK, SMALLEST
from .plan import Plan, make_plan
from .resume import check_folder, finished_record, partial_path
from .sampling import Sampling

GIB = 2**30


def check_grid(configs: Sequence[RunConfig], say: Callable[[str], None]) -> list[Plan]:
    """Check every run of a grid; a run that is finished already needs nothing.

    Args:
        configs: the runs.
        say: told what is wrong, a line each, where it is more than one thing.

    Returns:
        Their plans, in the same order, without networks (`Plan.light`).

    Raises:
        UserError: a run cannot start.
    """
    plans, errors = [], {}
    for config in configs:
        try:
            with in_one_line():
                plan = make_plan(config)
                if finished_record(plan, SILENT) is None:
                    check_data(plan, lambda split, dataset=plan.dataset: preview(dataset, split))
                    check_folder(partial_path(plan).parent)
            plans.append(plan.light())
        except UserError as error:
            errors.setdefault(str(error), error)
    if len(errors) > 1:
        for message in errors:
            say(f"cannot start: {message}")
        worst = max(errors.values(), key=lambda error: error.exit_code)
        raise type(worst)(f"{len(configs) - len(plans)} of {len(configs)} runs cannot start; nothing was run")
    for error in errors.values():
        raise error
    return plans


def check_data(plan: Plan, open_split: Callable[[str], Split]) -> Sampler:
    """Check that there are images, classes and memory for a run's episodes, and all else that its method needs.

    Args:
        plan: the run.
        open_split: gives a split of the plan's dataset by name, with its images or as it will be (`preview`).

    Returns:
        The run's sampler.

    Raises:
        UserError: something lacks; the line says which method needs it, and why.
    """
    split, method = open_split(plan.config.split), plan.method
    sampler = plan.sampler(split)
    _check_coarsity(sampler, plan.config.sampler)
    registry.check_recorded(sampler.parameters, f"sampler {plan.config.sampler}")
    plan.corrupted(split)
    one = sampler.draw(0, 1)
    _check_memory(plan, one.support.shape[1] + one.query.shape[1])
    first = sampler.draw(0, min(BATCH, plan.config.episodes))  # which checks the tasks
    _check_classifier(plan, int((first.classes != ABSENT).sum(axis=1).max()))
    if plan.transforms.use_train:
        with _needing_train(f"--features {plan.transforms}", "statistics of the train features"):
            open_split("train")
    check_other_splits(method, plan.method_section.name, plan.backbone.tune, plan.sampling, plan.dataset, open_split)
    _check_texts(plan, split)
    return sampler


def _check_coarsity(sampler: Sampler, name: str) -> None:
    """Check the form of the coarsity that the sampler of a plug-in gives.

    Raises:
        UserError: it is none.
    """
    given: object = sampler.coarsity(1) if sampler.is_plugin else None
    form = isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.shape == (1,)
    if given is not None and not (form and np.isfinite(given).all()):
        raise UserError(f"sampler {name}: coarsity(1) is {shown(given)}; expected an array of one finite number, or None")


def _check_classifier(plan: Plan, ways: int) -> None:
    """Check that a meta-trained part whose shape goes with the ways, such as a classifier, has enough of them.

    Raises:
        UsageError: it was trained for fewer.
    """
    if plan.learned is None:
        return

    def size(module: nn.Module | None) -> int:
        return 0 if module is None else sum(tensor.numel() for tensor in module.state_dict().values())

    wanted = plan.method.learned_part(plan.backbone.module, plan.backbone.feature_dim, ways, Generator().manual_seed(0))
    if size(wanted) > size(plan.learned):
        raise UsageError(
            f"--ways {ways}: method {plan.method_section.name} learned a classifier of fewer classes; take the --ways that "
            "it was meta-trained with"
        )


def _check_texts(plan: Plan, split: Split) -> None:
    """Check that there are class names, and a text tower or text features, where the method uses them.

    Raises:
        UserError: there are none.
    """
    method, made = plan.method, None
    if plan.texts is not None:
        names = plan.texts.names(split.class_ids, split.class_names)
        made = None if plan.texts.prompts is None else plan.backbone.precomputed_texts(plan.texts.prompts, names)
    needs_tower = method.uses_text_tower or (method.uses_text and made is None)
    if needs_tower and type(plan.backbone.recipe).text_tower is Backbone.text_tower:
        plan.backbone.text_tower()  # which says that there is none


def check_other_splits(
    method: Method, name: str, tune: str, sampling: Sampling, dataset: Dataset, open_split: Callable[[str], Split]
) -> None:
    """Check the further splits that a method needs: for a mean feature, and for choosing parameters.

    Args:
        method: of the run.
        name: of the method.
        tune: what it may move.
        sampling: of the run.
        dataset: of the run.
        open_split: as in `check_data`.

    Raises:
        UserError: they are not there, or too small.
    """
    if method.uses_train_mean or method.uses_train_classes:
        what = "the mean feature of the train split" if method.uses_train_mean else "the features of the train split"
        with _needing_train(f"method {name}", what):
            open_split("train")
    if undecided := method.undecided_with(tune):
        try:
            val = open_split(CHOICES)
        except UserError as error:
            how = setting_of(method, undecided[0])
            message = f"method {name} chooses {undecided[0]} on {CHOICES} episodes: {error}; or set it: {how}"
            raise type(error)(message) from error
        choice_sampler(method, tune, sampling, dataset, val).draw(0, method.choice_episodes)


@contextmanager
def _needing_train(who: str, what: str) -> Iterator[None]:
    """Say who needs the train split, and for what, where it is not there."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{who} needs {what}: {error}") from error


def preview(dataset: Dataset, name: str) -> Split:
    """A split as it is, or as it will be: where its images are not prepared yet, they are black.

    Raises:
        UserError: it is not there and cannot be made.
    """
    if dataset.problem(name) is None:
        return dataset.split(name)
    contents = dataset.described(name, None, SILENT)
    offsets = np.concatenate([[0], np.cumsum(contents.counts)]).astype(np.int64)
    images = np.broadcast_to(np.uint8(0), (int(offsets[-1]), *contents.shape))
    return Split(dataset.name, name, images, offsets, tuple(contents.class_ids), tuple(contents.class_names), fingerprint="")


def _check_memory(plan: Plan, rows: int) -> None:
    """Check that the episodes that a method sees at once fit in memory.

    Raises:
        UsageError: they do not.
    """
    there = _memory()
    preprocess, width = plan.backbone.preprocess, plan.backbone.feature_dim
    on_features = plan.inputs == "features"
    numbers = (SMALLEST * width) if on_features else IMAGE_CHUNK * preprocess.channels * preprocess.size**2
    needed = max(rows * numbers * 4, min(BATCH, plan.config.episodes) * rows * 8 * 4)
    if there is not None and needed > there:
        raise UsageError(
            f"episodes of {rows} images need {needed / GIB:.1f} GiB of memory, and this machine has {there / GIB:.1f}; "
            "take fewer --ways, --shots or --queries"
        )


def _memory() -> int | None:
    """Bytes of memory that this machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
