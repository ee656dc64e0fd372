"""A run of a sweep: which of its tasks can start, and what their answers make of it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from ...tasks.episodes import EpisodeBatch
from ..evaluation.choose import decided
from ..evaluation.evaluate import IMAGE_CHUNK
from ..evaluation.runner import FLUSH_SECONDS, Outcome, Run
from ..records.answerer import Chosen
from ..records.predictions import Predictions
from . import worker
from .cluster import Reference, Sent
from .worker import Plugin, Shard, Table

RUN = "run"  # the split of a run, corrupted where the run says so, beside the clean splits that a method needs
FIRST, FIRST_ON_IMAGES = 1024, 4 * IMAGE_CHUNK  # episodes of a run's first task, which says how long the others take
LEAST, MOST = 1.0, 10.0  # seconds of work that a task has, and that a killed worker costs
GRID = 2**16  # episodes between two digests: an interrupted run ends at one


@dataclass
class Features:
    """Features that several runs wait for.

    Attributes:
        entry: their place in the cache; None where they are not encoded yet.
        asked: whether a task encodes them.
    """

    entry: str | None
    asked: bool = False


@dataclass
class Draws:
    """Digests of the first episodes of a task that several runs have.

    Attributes:
        sampler: pickled, which draws them.
        points: the numbers of episodes at which there will be one.
        found: those that are there.
        drawing: the task that draws them, once there is one.
    """

    sampler: bytes
    points: list[int]
    found: dict[int, str] = field(default_factory=dict)
    drawing: Reference | None = None

    @classmethod
    def of(cls, sampler: bytes, episodes: int) -> Draws:
        """Those of a run of so many episodes."""
        return cls(sampler, list(dict.fromkeys([*range(GRID, episodes, GRID), episodes])))


@dataclass
class Task:
    """A task that can start.

    Attributes:
        function: of `worker`.
        run: whose it is.
        needs: entries that it reads.
        arguments: further ones of the function.
        take: given its value.
        parcels: entries that travel with it, for a machine that lacked them.
    """

    function: Callable[..., Any]
    run: Sharded
    needs: tuple[str, ...]
    arguments: tuple[Any, ...]
    take: Callable[[Any], None]
    parcels: dict[str, Reference] = field(default_factory=dict)


class Sharded:
    """A run whose episodes are evaluated by several workers.

    Attributes:
        run: the run.
        number: its place in the grid.
        sent: what the cluster has of it.
        bars: closed at its end.
        advanced: called with the number of episodes that have come in.
    """

    def __init__(
        self, run: Run, number: int, features: dict[str, Features], draws: Draws, slots: int, plugins: tuple[Plugin, ...]
    ) -> None:
        """Take up a run that has begun.

        Args:
            run: as `find_run` found it.
            number: its place in the grid.
            features: that it needs: RUN of its split, and those of further splits by name.
            draws: of its episodes.
            slots: number of tasks at once.
            plugins: whose classes it has, as they were when it began.
        """
        self.plugins = plugins
        self.run, self.number, self.features, self.draws, self.slots = run, number, features, draws, slots
        self.sent: Sent | None = None
        self.undecided = bool(run.plan.method.undecided_with(run.plan.backbone.tune))
        self.chosen_now = False
        self.on_images = run.plan.inputs == "images"
        self.batch: EpisodeBatch | None = None  # those that share no image, once the others are done
        self.part: Literal["main", "apart", "done"] = "main"
        self.before = self.next = len(run.main)  # episodes that were done when the command began
        self.rate, self.measuring = 0.0, False
        self.early: dict[int, Shard] = {}
        self.bars = ExitStack()  # the run's own bar
        self.advanced: list[Callable[[int], None]] = []
        self.flushed, self.spent = time.perf_counter(), 0.0
        self.chunk = run.chunk(run.sampler.draw(0, 1))
        run.main.make_room(run.wanted)
        if len(run.main) == run.wanted:  # interrupted after its last episode
            self._go_on()

    def tasks(self) -> Iterator[Task]:
        """The tasks that can start now, until the caller has enough."""
        if self.sent is None:
            return
        for role, features in self.features.items():
            if features.entry is None and not features.asked:
                features.asked = True
                split = self.run.plan.config.split if role == RUN else role
                take = partial(self._encoded, features)
                yield Task(worker.encode, self, self._images(split), (split, role == RUN), take)
        if any(features.entry is None for features in self.features.values()):
            return
        if self.undecided:
            if not self.chosen_now:
                self.chosen_now = True
                yield Task(worker.choose, self, self._needs("val"), (), self._decide)
            return
        while (span := self._span()) is not None:
            start, stop = span
            episodes = span if self.batch is None else self.batch[start:stop]
            yield Task(worker.evaluate, self, self._needs(), (episodes,), partial(self._add, start))

    def _images(self, *splits: str) -> tuple[str, ...]:
        opened = self.run.plan.opened
        return tuple(entry for split in splits if (entry := getattr(opened[split].images, "entry", None)) is not None)

    def _needs(self, *splits: str) -> tuple[str, ...]:
        """The entries that an evaluation reads."""
        tables = tuple(one.entry for one in self.features.values() if one.entry)
        return tables + (self._images(self.run.plan.config.split, *splits) if self.on_images else ())

    def _encoded(self, features: Features, table: Table) -> None:
        features.entry = table.entry
        self.run.encode_seconds += table.seconds

    def _decide(self, chosen: Chosen) -> None:
        self.run.plan = decided(self.run.plan, chosen)
        self.undecided, self.sent = False, None  # the cluster has the plan of before

    @property
    def _total(self) -> int:
        return self.run.wanted if self.batch is None else len(self.batch)

    def _span(self) -> tuple[int, int] | None:
        """The next episodes, on the grid of chunks; None where none are left, or how long they take is not known yet."""
        left = self._total - self.next
        if left <= 0 or self.part == "done" or (self.measuring and not self.rate):
            return None
        self.measuring = True
        if self.rate:
            wanted = min(max(math.ceil(left / self.slots), int(LEAST * self.rate)), int(MOST * self.rate))
        else:
            wanted = FIRST_ON_IMAGES if self.on_images else FIRST
        chunk = self.chunk if self.batch is None else self.run.chunk(self.batch)
        start, stop = self.next, min(self._total, self.next + max(1, wanted // chunk) * chunk)
        self.next = stop
        return start, stop

    def _add(self, start: int, shard: Shard) -> None:
        """Take the accuracies of a part; they join the others when all before them are there."""
        self.rate = max(len(shard.accuracies) / max(shard.seconds, 1e-6), 1e-6)
        self.early[start] = shard
        run, series = self.run, self.run.main if self.batch is None else self.run.disjoint
        while (ready := self.early.pop(len(series), None)) is not None:
            series.add(ready.accuracies, ready.seconds)
            if self.batch is None:
                for advance in self.advanced:
                    advance(len(ready.accuracies))
            if run.keeper and ready.predictions is not None:
                run.keeper.pieces.append(ready.predictions)
                run.keeper.are_probabilities &= ready.are_probabilities
            run.encoded, run.environment = ready.encoded, ready.environment
        if len(series) == self._total:
            self._go_on()

    def _go_on(self) -> None:
        """After all episodes come those that share no image, then nothing."""
        batch = self.run.apart() if self.part == "main" else None
        if batch is None or len(self.run.disjoint) == len(batch):
            self.part = "done"
            return
        self.part, self.batch, self.next = "apart", batch, len(self.run.disjoint)
        self.run.disjoint.make_room(len(batch))

    def finished(self) -> Outcome | None:
        """Write the record where every answer is there, its digest too."""
        digest = self.draws.found.get(len(self.run.main))
        if self.part != "done" or digest is None or self.undecided:
            return None
        self.run.digest = digest
        return self.run.finish()

    def flush(self) -> None:
        """Write a partial record now and then, for a command that is killed."""
        now = time.perf_counter()
        if now - self.flushed < max(FLUSH_SECONDS, 10 * self.spent) or self.run.keeper:
            return
        n, done = max((point for point in self.draws.found if point <= len(self.run.main)), default=0), len(self.run.main)
        if n and self.part == "main":
            self.run.main.n, self.run.digest = n, self.draws.found[n]
            self.run.write_partial()
            self.run.main.n = done
        self.flushed = time.perf_counter()
        self.spent = self.flushed - now

    def interrupted(self) -> int:
        """Write what is done for the same command to go on from; the number of episodes that are."""
        run, before = self.run, self.before
        n = max((point for point in self.draws.found if point <= len(run.main)), default=0)
        if not n and len(run.main) <= GRID:
            n, sha = len(run.main), hashlib.sha256()
            for batch in run.sampler.batches(0, n):
                sha.update(batch.as_bytes())
            run.digest = sha.hexdigest()
        else:
            run.digest = self.draws.found.get(n)
        if n < max(before, 1) or (n == before and not len(run.disjoint)):
            return before
        if run.keeper and run.keeper.pieces:
            run.keeper.pieces = [Predictions.joined(run.keeper.pieces).first(n)]
        run.main.n = n
        if n < run.wanted:
            run.disjoint.n = 0
        run.write_partial()
        return n
