"""Chooses parameters that are "auto": every combination is tried on the same episodes of the val classes, never on test."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from ...core.errors import UsageError
from ...core.progress import Progress
from ...methods.base import AUTO, Method
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.episodes import ABSENT, EpisodeBatch
from ...tasks.samplers import Sampler, UniformSampler, check_ways
from ..config import SHAPE
from ..records.answerer import Chosen
from ..records.record import RunRecord
from .checks import CHOICES, setting_of
from .evaluate import Evaluator
from .opening import source_of
from .plan import Plan
from .sampling import Sampling

SUPPORT, FEWEST = 8000, 10  # support images in all, and episodes at least, that a choice is made on
UNIT = "trials"  # of the bar, which no time limit may end: a choice that is begun again each time is never made


def with_choices(plan: Plan, device: torch.device, progress: Progress) -> Plan:
    """The plan with every parameter decided; its method section then says how, under `chosen`.

    Tried are the first `Method.choice_episodes` episodes of the val split, drawn as those of the run are (uniformly where the
    run is on a testbed, which has no val episodes). Large episodes are fewer (`choice_batch`). The first of the best
    combinations is taken.

    Args:
        plan: whose method may have parameters that are "auto".
        device: where it runs.
        progress: told of long work, and of what was chosen.

    Raises:
        UsageError: the val split is too small for such episodes.
    """
    names = plan.method.undecided_with(plan.backbone.tune)
    if not names:
        return plan
    split = plan.open_split(CHOICES, progress)
    sampler = choice_sampler(plan.method, plan.backbone.tune, plan.sampling, plan.dataset, split)
    batch = choice_batch(plan.method, sampler)
    source, _ = source_of(plan, split, device, progress)
    combinations = list(itertools.product(*(plan.method.choices[name] for name in names)))
    candidates = [replace(plan.method, **dict(zip(names, values, strict=True))) for values in combinations]
    owner, found = plan.method_section.name, [[] for _ in candidates]
    trials = Evaluator(plan.method, source, owner).trials(batch, candidates)
    with progress.track(f"choosing {', '.join(names)} of {owner} on {CHOICES}", len(candidates) * len(batch), UNIT) as advance:
        for number, accuracies in trials:
            found[number].append(accuracies)
            advance(len(accuracies))
    accuracies = [float(np.concatenate(one).mean()) for one in found]
    best = max(range(len(combinations)), key=accuracies.__getitem__)  # the first of equals
    values = dict(zip(names, combinations[best], strict=True))
    shots, chosen_values = plan.sampling.shape["shots"], ", ".join(f"{name}={value}" for name, value in values.items())
    task = f"{owner}, {'varying shots' if shots is None else f'{shots}-shot'}"
    progress.say(f"{task}: {chosen_values} is best on {CHOICES}, with {100 * accuracies[best]:.2f} %")
    tried = [[*one, round(accuracy, 6)] for one, accuracy in zip(combinations, accuracies, strict=True)]
    return decided(plan, Chosen(values, CHOICES, len(batch), tried))


def as_chosen_before(plan: Plan, record: RunRecord) -> Plan:
    """The plan with what an interrupted run of it chose: its episodes go on with the very values that they began with."""
    chosen = record.method.chosen
    if chosen is None or {*chosen.values} != {*plan.method.undecided_with(plan.backbone.tune)}:
        return plan
    return decided(plan, chosen)


def decided(plan: Plan, chosen: Chosen) -> Plan:
    """The plan with parameters that were chosen."""
    section = replace(plan.method_section, chosen=chosen)
    return replace(plan, method=replace(plan.method, **chosen.values), method_section=section)


def choice_batch(method: Method, sampler: Sampler) -> EpisodeBatch:
    """The episodes to choose on: `Method.choice_episodes`, or as many of them as have `SUPPORT` support images in all.

    A choice then takes a time like that of the run, also where an episode has hundreds of images. Such episodes tell
    candidates apart better than small ones.
    """
    batch = sampler.draw(0, method.choice_episodes)
    images = (batch.support_labels != ABSENT).sum(axis=1).cumsum()
    return batch[: max(FEWEST, int((images <= SUPPORT).sum()))]


def choice_sampler(method: Method, tune: str, sampling: Sampling, dataset: Dataset, split: Split) -> Sampler:
    """Draws val episodes of the run's shape.

    Args:
        method: with a parameter that is "auto".
        tune: what the method may move.
        sampling: of the run.
        dataset: of the run.
        split: of the val classes.

    Raises:
        UsageError: the split is too small for them.
    """
    try:
        if not sampling.sampler.of_one_split:
            check_ways(sampling.shape["ways"], len(split.class_ids))
            return sampling.over(dataset, split)
        shape = {one: value for one in SHAPE if (value := sampling.shape[one]) is not None}
        check_ways(shape["ways"], len(split.class_ids))
        return UniformSampler(offsets=split.offsets, seed=sampling.seed, **shape)
    except UsageError as error:
        name = method.undecided_with(tune)[0]
        how = setting_of(method, name)
        raise UsageError(f"{name}={AUTO} is chosen on {CHOICES} episodes: {error}; or set it: {how}") from error
