"""One episode of a task again: its images, and what the method of a record answers on it.

A record holds accuracies, not answers. Episodes are a pure function of the task, so the answers can be had again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core.decoding import encode
from ...core.errors import UsageError, UserError
from ...core.options import Settings, as_option
from ...core.progress import Progress
from ...core.ranges import LARGEST_COUNT
from ...tasks.conditions.conditions import Conditions
from ...tasks.corrupted_split import corrupted
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split, split_name
from ...tasks.episodes import EpisodeBatch, digest
from ...tasks.samplers import Sampler
from ...tasks.testbed_sampler import TestbedSampler
from .. import registry
from ..config import SHAPE, RunConfig
from ..device import choose_device
from ..records.identity import TaskKey, key_of, task_of
from ..records.record import RunRecord
from ..scopes import with_scopes
from .choose import as_chosen_before
from .evaluate import Answers, Evaluator
from .opening import source_of_rows
from .plan import Plan, make_plan
from .sampling import sampling_of, task_section, with_sampling
from .source import Source

OF_A_TESTBED = ("testbed_sha256", "tasks")  # what a record says about a testbed beside what it was drawn with
OF_FILES = ("weights", "testbed", "prompts", "class_names")  # options that say where a file is whose hash the record has
SAME = 1e-9  # accuracies that differ by less are the same


@dataclass(frozen=True)
class OpenTask:
    """A task whose episodes can be drawn and looked at.

    Attributes:
        key: what decides its episodes.
        split: where the images are.
        sampler: draws the episodes.
    """

    key: TaskKey
    split: Split
    sampler: Sampler

    def episode(self, index: int) -> EpisodeBatch:
        """Episode `index`, as a batch of one without padding.

        Raises:
            UsageError: the task has no such episode.
        """
        if not 0 <= index <= LARGEST_COUNT:
            raise UsageError(f"{as_option('index', index)}: from 0 to {LARGEST_COUNT:,}")
        if self.sampler.most is not None and index >= self.sampler.most:
            raise UsageError(f"--index {index}: the task has {self.sampler.most} episodes, counted from 0")
        return self.sampler.draw(index, index + 1).trimmed()


@dataclass(frozen=True)
class Replay:
    """One episode of a task.

    Attributes:
        task: the task.
        episode: a batch of one without padding.
        answers: of a record's method, [1, Q].
    """

    task: OpenTask
    episode: EpisodeBatch
    answers: Answers | None = None


def open_task(config: RunConfig, progress: Progress) -> OpenTask:
    """Open what a config asks for; its method, backbone and weights are not looked at.

    Raises:
        UsageError: an unknown name or parameter, or the split is too small for the episodes.
        UserError: the dataset is not there and cannot be made.
    """
    dataset: Dataset = registry.make("datasets", config.dataset, config.settings_of("dataset"))
    sampling = sampling_of(config)
    config = with_sampling(config, sampling)
    split = dataset.split(split_name(config.split), progress)
    sampler = sampling.over(dataset, split)
    images = corrupted(split, config.corrupted_by)
    task = task_section(config, dataset, sampling)
    key = key_of(replace(task, fingerprint=images.fingerprint, sampler_parameters=sampler.parameters))
    return OpenTask(key, images, sampler)


def config_of(options: Settings, settings: Settings, record: RunRecord | None = None) -> RunConfig:
    """The config of a task, with the method, backbone and weights where there is a record.

    Args:
        options: what the user names of the options of `RunConfig`. With a record, weights, testbed, prompts, class names, and
            the file of a plug-in method, backbone or dataset say where those of the record are.
        settings: parameters of the dataset and sampler, as `dataset.name` or `sampler.name`.
        record: says the rest.

    Raises:
        UsageError: an option contradicts the record, or the record ran on a testbed or a checkpoint and no file is named.
    """
    if record is None:
        settings = with_scopes(settings, options.get("dataset", RunConfig.dataset))
    else:
        of_dataset = record.task.dataset_parameters
        settings = {f"dataset.{name}" if name in of_dataset else name: value for name, value in settings.items()}
    for name in settings:
        if not name.startswith(("dataset.", "sampler.")):
            raise UsageError(f"--set {name}: an episode takes parameters of dataset. and sampler. alone")
    if record is None:
        return RunConfig(**options, settings=settings)
    recorded = _options_of(record)
    for name, value in options.items():
        # A plug-in's file is recorded without its folder, and of weights and testbeds there is a hash to be checked.
        named = Path(value).name if name in ("backbone", "dataset", "method", "sampler") else value
        if name not in OF_FILES and named != recorded.get(name):
            theirs = recorded.get(name, f"varying {name}")
            raise UsageError(f"--{name} {value}: the record has {'none' if theirs is None else theirs}; leave the option out")
    for name in settings.keys() & recorded["settings"].keys():
        raise UsageError(f"--set {name}: the record has {recorded['settings'][name]}; leave it out")
    if recorded["sampler"] == TestbedSampler.name and "testbed" not in options:
        raise UsageError("the record was made on a testbed; name its file with --testbed")
    merged = {**recorded, **options, "settings": {**recorded["settings"], **settings}}
    if record.method.learned_sha256 is not None:  # the method learned something, too
        if "weights" not in options:
            raise UsageError("the record's method was meta-trained; name its checkpoint with --weights")
        merged["checkpoint"] = merged.pop("weights")
    return RunConfig(**merged)


def _options_of(record: RunRecord) -> Settings:
    """The options that a record was made with, as far as they decide its episodes and answers.

    Where files were, it does not say: those of a testbed, of weights and of a plug-in.
    """
    task, backbone = record.task, record.backbone
    corruption, text = task.corruption, record.method.text
    drawn_with = {name: value for name, value in task.sampler_parameters.items() if name not in OF_A_TESTBED}
    settings = {
        **{f"dataset.{name}": value for name, value in task.dataset_parameters.items()},
        **{f"sampler.{name}": value for name, value in drawn_with.items()},
        **{f"backbone.{name}": value for name, value in backbone.parameters.items()},
        **record.method.parameters,
    }
    return {
        **{name: value for name in SHAPE if (value := getattr(task, name)) is not None},
        **{name: getattr(task, name) for name in ("dataset", "split", "sampler", "seed")},
        "episodes": task.sampler_parameters.get("tasks", record.n_episodes),
        "method": record.method.name,
        "backbone": record.backbone.name,
        "weights": backbone.weights,
        "tune": backbone.tune,
        "corruption": None if corruption is None else corruption.name,
        "severity": None if corruption is None else corruption.severity,
        **encode(task.conditions or Conditions()),
        "features": record.method.features,
        "prompts": None if text is None else text.prompts,
        "precision": backbone.precision,
        "compile": backbone.compile,
        **_views(backbone.views),
        "settings": settings,
    }


def _views(said: str | None) -> Settings:
    """The options `views` and `vote` of what a record says of its views."""
    if said is None:
        return {}
    number, _, vote = said.partition(", ")
    return {"views": int(number), "vote": vote}


def replay(config: RunConfig, index: int, record: RunRecord | None, progress: Progress) -> Replay:
    """Draw one episode, and answer it where there is a record.

    Args:
        config: made by `config_of`, with the same record.
        index: the episode's number in the task.
        record: whose method answers; `progress` is told where the answers do not have the accuracy that it holds.
        progress: told of long work.

    Raises:
        UsageError: an unknown name, or no such episode.
        UserError: the weights or the dataset are not there, the episodes are not those of the record, or the method fails.
    """
    if record is not None and index >= record.n_episodes:
        raise UsageError(f"--index {index}: the record has {record.n_episodes} episodes, counted from 0")
    # Weights are found before anything is prepared.
    plan = None if record is None else as_chosen_before(make_plan(config, progress), record)
    task = open_task(config, progress)
    episode = task.episode(index)
    if plan is None or record is None:
        return Replay(task, episode)
    check_same_episodes(task, record)
    return Replay(task, episode, _answer(plan, record, task, episode, progress))


def check_same_episodes(task: OpenTask, record: RunRecord) -> None:
    """Check that a task's episodes are those of a record.

    Raises:
        UserError: they are not; the line says in what the tasks differ.
    """
    different = task.key.differences(task_of(record))
    if different:
        raise UserError(f"this task is not that of the record: {'; '.join(different)}")
    if digest(task.sampler.batches(0, record.n_episodes)) != record.task.episodes_sha256:
        raise UserError("the record's episodes are no longer those of its task (episodes_sha256); repeat the run")


def check_weights(plan: Plan, record: RunRecord) -> None:
    """Check that a plan has the weights of a record.

    Raises:
        UserError: it has others.
    """
    if plan.backbone.weights_sha256 != record.backbone.weights_sha256:
        raise UserError(
            f"weights {plan.backbone.weights} are not those of the record (other SHA-256); name them with --weights"
        )


def _answer(plan: Plan, record: RunRecord, task: OpenTask, episode: EpisodeBatch, progress: Progress) -> Answers:
    check_weights(plan, record)
    if plan.method_section.text != record.method.text:
        raise UserError("prompts or class names are not those of the record; name their files with --prompts and --class-names")
    source, renumbered = _source(plan, task.split, episode, progress)
    answers = Evaluator(plan.method, source, record.method.name).predictions(renumbered)
    index, now = int(episode.index[0]), answers.credit.mean()
    then = record.accuracies[index]
    if abs(now - then) > SAME:
        progress.say(
            f"warning: the record says {100 * then:.2f} % for episode {index}, its method answers {100 * now:.2f} % now"
        )
    return answers


def _source(plan: Plan, split: Split, batch: EpisodeBatch, progress: Progress) -> tuple[Source, EpisodeBatch]:
    """Where the rows of one episode are looked up, and the episode with these rows. No other image of the split is encoded."""
    places = ("support", "query", "unlabelled")
    rows = np.unique(np.concatenate([getattr(batch, name) for name in places], axis=1))
    batch = replace(batch, **{name: np.searchsorted(rows, getattr(batch, name)) for name in places})
    return source_of_rows(plan, split, rows, choose_device(plan.config.device), progress), batch
