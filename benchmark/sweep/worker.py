"""The tasks of a sweep, in a worker's process. They do what `bench run` does, for a part of the episodes of a run."""

from __future__ import annotations

import hashlib
import pickle
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ...core.errors import UsageError, UserError
from ...core.files import cache_root
from ...core.heap import keep_heap
from ...core.progress import Advance, SilentProgress
from ...tasks.episodes import EpisodeBatch
from ...tasks.samplers import Sampler
from .. import registry
from ..device import choose_device, tf32
from ..evaluation.choose import with_choices
from ..evaluation.evaluate import Evaluator
from ..evaluation.keeping import Keeper
from ..evaluation.opening import source_of
from ..evaluation.plan import Plan
from ..features.table import feature_table
from ..plugin_errors import in_one_line, told
from ..records.answerer import Chosen
from ..records.predictions import Predictions
from ..records.provenance import environment
from ..records.sections import Encoded, Environment
from .parcels import Parcel, UserFile, entry_of, is_here, pack, unpack

MOST_OPEN = 2  # runs whose features and network a worker holds
Plugin = tuple[str, bytes]  # the file of a plug-in: its path on the command's machine, and its content


@dataclass(frozen=True)
class Job:
    """A run as it travels: without its network, which many runs share, and without images.

    Attributes:
        plan: of the run (`Plan.light`), with its splits open (`Plan.opened`).
        sampler: of its episodes.
        learned: what the method learned beside the backbone.
        files: of the user, that the run reads while it evaluates: weights, and names of classes.
        home: a file in the cache of the machine where the command runs: a worker that sees it shares that cache.
        verbose: whether the user asked for speeds.
    """

    plan: Plan
    sampler: Sampler
    learned: nn.Module | None
    files: Mapping[Literal["weights", "names"], UserFile]
    home: str
    verbose: bool

    def here(self) -> Job:
        """The same, with its files where this machine has them."""
        places, backbone, texts = {role: file.here() for role, file in self.files.items()}, self.plan.backbone, self.plan.texts
        backbone = replace(backbone, file=places.get("weights", backbone.file))
        texts = texts and replace(texts, file=places.get("names", texts.file))
        return replace(self, plan=replace(self.plan, backbone=backbone, texts=texts))


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
    """Keeps what is said for the user at another machine, and tells how many images are encoded, each second.

    Attributes:
        count: given that number.
        verbose: whether the user asked for speeds.
        said: what was.
    """

    count: Callable[[int], None]
    verbose: bool = False
    said: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """Keep a line."""
        self.said.append(message)

    @contextmanager
    def track(self, description: str, total: int, unit: str = "") -> Iterator[Advance]:
        """Count images."""
        done, told = 0, time.monotonic()

        def advance(steps: int) -> None:
            nonlocal done, told
            done += steps
            if unit == "images" and time.monotonic() - told > 1:
                told = time.monotonic()
                self.count(done)

        yield advance


def work(
    function: Callable[..., Any],
    plugins: Sequence[Plugin],
    parcels: Mapping[str, Callable[[], Parcel]],
    needs: Sequence[str],
    job: tuple[str, Callable[[], Job], Callable[[], nn.Module]],
    arguments: Sequence[Any],
    count: Callable[[int], None],
) -> Answer:
    """Do a task.

    Args:
        function: of this module.
        plugins: which may have the classes of the job.
        parcels: entries that an earlier attempt lacked.
        needs: entries that the task reads.
        job: a name of the run, and functions that fetch it and its network, which may be there from an earlier task.
        arguments: further ones of the function.
        count: given the number of images that are encoded, now and then.
    """
    keep_heap()
    listener = Listener(count)
    try:
        with in_one_line():
            _import(plugins)
            for entry, fetch in parcels.items():
                if not is_here(entry):
                    unpack(entry, fetch())
            found = _job(*job)
            absent = [entry for entry in needs if not is_here(entry)]
            absent += [file.entry for file in found.files.values() if file.here() is None]
            if absent:
                return Answer(lacks=tuple(absent))
            listener.verbose = found.verbose
            value = function(found.here(), job[0], listener, *arguments)
    except UserError as error:
        kind = UsageError if isinstance(error, UsageError) else UserError  # its own class may not travel
        return Answer(error=kind(str(error)), said=tuple(listener.said))
    return Answer(value, tuple(listener.said))


def _import(plugins: Sequence[Plugin]) -> None:
    """Import plug-ins, without a file of them on this machine.

    Raises:
        UserError: one does not import here.
    """
    for path, source in plugins:
        try:
            registry.import_source(Path(path), source)
        except (Exception, SystemExit) as error:  # of somebody else's code
            raise UserError(f"plug-in {path} does not import on {socket.gethostname()}: {told(error)}") from error


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
    return Table(entry, None if (cache_root() / job.home).exists() else pack(cache_root() / entry), seconds)


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


def digests(plugins: Sequence[Plugin], pickled: bytes, points: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Draw all episodes in their order; at each point, yield it and the digest of all episodes before it.

    Args:
        plugins: which may have the class of the sampler.
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
