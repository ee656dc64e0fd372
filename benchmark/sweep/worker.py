"""The tasks of a sweep, in a worker's process. They do what `bench run` does, for a part of the episodes of a run."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import UsageError, UserError
from ...core.files import cache_root
from ...core.heap import keep_heap
from ...core.progress import SilentProgress
from ...tasks.episodes import EpisodeBatch
from ...tasks.samplers import Sampler
from .. import registry
from ..device import choose_device, tf32
from ..evaluation.choose import with_choices
from ..evaluation.evaluate import Evaluator
from ..evaluation.keeping import Keeper
from ..evaluation.plan import Plan
from ..evaluation.sources import source_of
from ..features.table import feature_table
from ..plugin_errors import in_one_line
from ..records.answerer import Chosen
from ..records.predictions import Predictions
from ..records.provenance import environment
from ..records.sections import Encoded, Environment
from .parcels import Parcel, entry_of, is_here, pack, unpack

MOST_OPEN = 2  # runs whose features and network a worker holds


@dataclass(frozen=True)
class Job:
    """A run as it travels: without its network, which many runs share, and without images.

    Attributes:
        plan: of the run (`Plan.light`), with its splits open (`Plan.opened`).
        sampler: of its episodes.
        learned: what the method learned beside the backbone.
        home: a file in the cache of the machine where the command runs: a worker that sees it shares that cache.
        verbose: whether the user asked for speeds.
    """

    plan: Plan
    sampler: Sampler
    learned: nn.Module | None
    home: str
    verbose: bool


@dataclass(frozen=True)
class Answer:
    """The end of a task.

    Attributes:
        value: its result.
        said: lines for the user.
        lacks: entries that this machine's cache lacks; nothing was done.
        error: why it failed.
    """

    value: Any = None
    said: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    error: UserError | None = None


@dataclass(frozen=True)
class Table:
    """Encoded features.

    Attributes:
        entry: their place in the cache.
        parcel: their files; None where the machine of the command has the same cache.
        seconds: that they took.
    """

    entry: str
    parcel: Parcel | None
    seconds: float


@dataclass(frozen=True)
class Shard:
    """Accuracies of consecutive episodes.

    Attributes:
        accuracies: float64 [E].
        seconds: that they took.
        encoded: the encoding of the features.
        environment: of the worker.
        predictions: of all queries, where they are kept.
        are_probabilities: of the predictions, as of a `Keeper`.
    """

    accuracies: np.ndarray
    seconds: float
    encoded: Encoded | None
    environment: Environment
    predictions: Predictions | None = None
    are_probabilities: bool = True


@dataclass
class Listener(SilentProgress):
    """Keeps what is said, for the user at another machine."""

    verbose: bool = False
    said: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """Keep a line."""
        self.said.append(message)


def work(
    function: Callable[..., Any],
    plugins: Sequence[tuple[str, str]],
    parcels: Mapping[str, Callable[[], Parcel]],
    needs: Sequence[str],
    job: tuple[str, Callable[[], Job], Callable[[], nn.Module]],
    arguments: Sequence[Any],
) -> Answer:
    """Do a task.

    Args:
        function: of this module.
        plugins: kind and name of what is loaded from files; the job's classes may be there.
        parcels: entries that an earlier attempt lacked.
        needs: entries that the task reads.
        job: a name of the run, and functions that fetch it and its network, which may be there from an earlier task.
        arguments: further ones of the function.
    """
    keep_heap()
    listener = Listener()
    try:
        with in_one_line():
            _import(plugins)
            for entry, fetch in parcels.items():
                if not is_here(entry):
                    unpack(entry, fetch())
            if lacking := tuple(entry for entry in needs if not is_here(entry)):
                return Answer(lacks=lacking)
            found = _job(*job)
            listener.verbose = found.verbose
            value = function(found, job[0], listener, *arguments)
    except UserError as error:
        kind = UsageError if isinstance(error, UsageError) else UserError  # its own class may not travel
        return Answer(error=kind(str(error)), said=tuple(listener.said))
    return Answer(value, tuple(listener.said))


def _import(plugins: Sequence[tuple[str, str]]) -> None:
    """Load plug-ins from their files.

    Raises:
        UserError: this machine does not have a file.
    """
    for kind, name in plugins:
        file = name.rpartition(":")[0]
        if not Path(file).is_file():
            raise UserError(
                f"plug-in file {file} is not on every machine of the cluster, and plug-in files do not travel; put it at the "
                "same path there, or install it as a package"
            )
        registry.load(registry.find(kind, name))


_jobs: OrderedDict[str, Job] = OrderedDict()
_open: OrderedDict[str, tuple[Evaluator, Encoded | None]] = OrderedDict()


def forget() -> None:
    """Let go of all runs, as a new process would."""
    _jobs.clear()
    _open.clear()


def _job(name: str, fetch: Callable[[], Job], network: Callable[[], nn.Module]) -> Job:
    if name not in _jobs:
        job = fetch()
        plan = replace(job.plan, backbone=replace(job.plan.backbone, module=network()), learned=job.learned)
        _jobs[name] = replace(job, plan=plan)
    return _kept(_jobs, name)


def _kept(held: OrderedDict[str, Any], name: str) -> Any:
    """A value that is held; the one that was not asked for the longest goes where there are too many."""
    held.move_to_end(name)
    if len(held) > MOST_OPEN:
        held.popitem(last=False)
    return held[name]


def encode(job: Job, name: str, listener: Listener, split: str, corrupted: bool) -> Table:
    """Encode a split, or find it in this machine's cache."""
    plan, began = job.plan, time.perf_counter()
    device, images = choose_device(plan.config.device), plan.open_split(split, listener)
    images = plan.corrupted(images) if corrupted else images
    table = feature_table(plan.backbone, images, device, listener, plan.encoding)
    entry, seconds = entry_of(table.features), time.perf_counter() - began
    assert entry is not None
    if table.encoded is not None:
        speed = table.encoded.images / max(table.encoded.seconds, 1e-3)
        listener.say(
            f"encoded {images.dataset} {split}, {plan.backbone.name}: {table.encoded.images} images, {speed:,.0f} a second"
        )
    return Table(entry, None if (cache_root() / job.home).exists() else pack(entry), seconds)


def choose(job: Job, name: str, listener: Listener) -> Chosen | None:
    """Choose the parameters that are "auto"."""
    device = choose_device(job.plan.config.device)
    with tf32(device, allowed=False):
        return with_choices(job.plan, device, listener).method_section.chosen


def evaluate(job: Job, name: str, listener: Listener, episodes: tuple[int, int] | EpisodeBatch) -> Shard:
    """Evaluate episodes, given by the first number and the one after the last, or as they are."""
    plan, device = job.plan, choose_device(job.plan.config.device)
    with tf32(device, allowed=False):
        if name not in _open:
            split = plan.corrupted(plan.open_split(plan.config.split, listener))
            source, encoded = source_of(plan, split, device, listener)
            _open[name] = Evaluator(plan.method, source, plan.method_section.name), encoded
        evaluator, encoded = _kept(_open, name)
        given = isinstance(episodes, EpisodeBatch)
        batches = [episodes] if given else job.sampler.batches(*episodes)
        keeper = Keeper(Path(), None) if plan.config.keep_predictions and not given else None
        began = time.perf_counter()
        found = [accuracies for _, accuracies in evaluator.chunks(batches, keeper.add if keeper else None)]
        seconds = time.perf_counter() - began
    kept = (Predictions.joined(keeper.pieces), keeper.are_probabilities) if keeper else (None, True)
    return Shard(np.concatenate(found), seconds, encoded, environment(torch.device(device)), *kept)


def digests(plugins: Sequence[tuple[str, str]], pickled: bytes, points: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Draw all episodes in their order; at each point, yield it and the digest of all episodes before it.

    Args:
        plugins: kind and name of what is loaded from files; the sampler's class may be there.
        pickled: the sampler, as the command sent it through Ray, which unpickles tasks itself; never a file of a user.
        points: numbers of episodes, ascending.
    """
    _import(plugins)
    sampler, sha, start = pickle.loads(pickled), hashlib.sha256(), 0
    for stop in points:
        for batch in sampler.batches(start, stop):
            sha.update(batch.as_bytes())
        start = stop
        yield stop, sha.hexdigest()
