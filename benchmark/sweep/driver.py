"""The process that carries out a sweep: it hands tasks to the cluster, takes their answers, and writes the records."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import Interrupted, UsageError, UserError
from ...core.files import cache_root, make_folder, temporary_path
from ...core.progress import Progress
from ..config import RunConfig
from ..evaluation.runner import Outcome, find_run
from ..plugin_errors import in_one_line
from .bars import EncodingBars
from .cluster import Cluster, Reference
from .connection import connected
from .engine import Engine
from .parcels import pack, unpack
from .sending import Sender
from .sharded import Draws, Sharded, Task
from .worker import Answer, Table, encode

AHEAD = 2  # tasks for each worker: one that it does, and one that waits for it


class Sweep:
    """Runs on a cluster.

    Attributes:
        outcomes: of the runs that are done, by their number.
        failures: errors of the others, by their number.
    """

    def __init__(
        self, configs: Sequence[RunConfig], names: Sequence[str], cluster: Cluster, progress: Progress, home: Path
    ) -> None:
        """Take up the runs.

        Args:
            configs: the runs.
            names: what they are called; empty for a single run, whose error says enough.
            cluster: where they run.
            progress: told of the work.
            home: a file in this machine's cache.
        """
        self.configs, self.names, self.cluster, self.progress = configs, names, cluster, progress
        self.sender = Sender(cluster, home.relative_to(cache_root()).as_posix(), progress)
        self.outcomes: dict[int, Outcome] = {}
        self.failures: dict[int, UserError] = {}
        self.left = deque(range(len(configs)))
        self.later: list[int] = []  # which have the same record as a run that is at work
        self.active: list[Sharded] = []
        self.pending: dict[Reference, Task] = {}
        self.drawing: dict[Reference, Draws] = {}
        self.parcels: dict[str, Reference] = {}
        self.encoding = EncodingBars(cluster, progress)

    def carry_out(self) -> UserError | None:
        """Do every run. A run that fails does not stop the others; Ctrl-C stops all.

        Returns:
            The error that the command ends with, or None.
        """
        total = sum(min(one.episodes, one.limit or one.episodes) for one in self.configs)
        title = f"{len(self.configs)} runs" if len(self.configs) > 1 else f"{self.configs[0].method}"
        try:
            with self.progress.track(f"{title} on {self.cluster.slots} workers", total, "episodes") as advance:
                self.advance = advance
                try:
                    while self._step():
                        pass
                finally:
                    for run in self.active:
                        run.bars.close()
                    for reference in self.pending:
                        self.encoding.end(reference)
        except KeyboardInterrupt:
            return self._interrupted()
        if self.failures and len(self.configs) > 1:
            return UserError(f"{len(self.failures)} of {len(self.configs)} runs failed")
        return next(iter(self.failures.values()), None)

    def _step(self) -> bool:
        """Start what can start, and take the answers that are there; False when nothing is left."""
        self._start()
        waiting = [*self.pending, *self.drawing]
        if not waiting:
            assert not self.active
            return bool(self.left)
        for reference in self.cluster.wait(waiting):
            if reference in self.drawing:
                self._drawn(reference)
            elif reference in self.pending:
                self._take(reference)
        self.encoding.move()
        for run in list(self.active):
            self._end(run)
        return True

    def _start(self) -> None:
        room = AHEAD * self.cluster.slots - len(self.pending)
        while room > 0:
            for run in self.active:
                self.sender.send(run)
                for task in run.tasks():
                    self._submit(task)
                    room -= 1
                    if room <= 0:
                        return
            if not self.left or len(self.active) >= AHEAD * self.cluster.slots:
                return
            self._begin(self.left.popleft())

    def _begin(self, number: int) -> None:
        """Find what a run needs, and send it to the cluster."""
        config = self.configs[number]
        try:
            with in_one_line():
                found = find_run(config, self.progress)
                if isinstance(found, Outcome):
                    self._done(number, found)
                    return
                if any(found.path == run.run.path for run in self.active):
                    self.later.append(number)
                    return
                run = self.sender.opened(found, number)
        except UserError as error:
            self._failed(number, error)
            return
        self.active.append(run)
        run.advanced = [self.advance]
        if self.names:
            run.advanced.append(run.bars.enter_context(self.progress.track(self.names[number], run.run.wanted)))
        for advance in run.advanced:
            advance(len(run.run.main))
        self.sender.send(run)
        if run.draws.drawing is None and run.sent is not None:
            run.draws.drawing = self.cluster.draw(run.sent, run.draws.sampler, run.draws.points)
            self.drawing[run.draws.drawing] = run.draws
        self._end(run)

    def _submit(self, task: Task) -> None:
        assert task.run.sent is not None
        reference = self.cluster.submit(task.function, task.run.sent, task.needs, task.parcels, task.arguments)
        self.pending[reference] = task
        if task.function is encode:
            self.encoding.begin(reference, task.run.run.plan.opened[task.arguments[0]])

    def _take(self, reference: Reference) -> None:
        task = self.pending.pop(reference)
        run = task.run
        self.encoding.end(reference)
        answer: Answer = self.cluster.answer(reference)
        for line in answer.said:
            self.progress.say(line)
        if run not in self.active:
            return
        try:
            if answer.error is not None:
                raise answer.error
            if answer.lacks:
                self._submit(replace(task, parcels=task.parcels | {entry: self._parcel(entry) for entry in answer.lacks}))
                return
            if isinstance(answer.value, Table) and answer.value.parcel is not None:
                unpack(answer.value.entry, answer.value.parcel)
            task.take(answer.value)
            run.flush()
        except UserError as error:
            self._failed(run.number, error)

    def _parcel(self, entry: str) -> Reference:
        """The reference of an entry, or of a user's file, that some machine lacks.

        Raises:
            UserError: this machine lacks it, too.
        """
        if entry not in self.parcels:
            place = self.sender.files.get(entry, cache_root() / entry)
            if not place.exists():
                raise UserError(f"{place} went missing; run again")
            self.parcels[entry] = self.cluster.put(pack(place))
        return self.parcels[entry]

    def _drawn(self, reference: Reference) -> None:
        draws = self.drawing[reference]
        try:
            drawn = self.cluster.drawn(reference)
        except UserError as error:
            del self.drawing[reference]
            draws.drawing = None
            for run in [run for run in self.active if run.draws is draws]:
                self._failed(run.number, error)
            return
        if drawn is None:
            del self.drawing[reference]
        else:
            draws.found[drawn[0]] = drawn[1]

    def _end(self, run: Sharded) -> None:
        """Write the record of a run that is done."""
        try:
            outcome = run.finished() if run in self.active else None
        except UserError as error:
            self._failed(run.number, error)
            return
        if outcome is not None:
            self._close(run)
            self._done(run.number, outcome)

    def _done(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        if outcome.reused:
            self.advance(outcome.record.n_episodes)
            self.progress.say(f"{outcome.path} is there already, nothing was run; --overwrite repeats it")
        elif self.names:
            self.progress.say(f"done: {self.names[number]}: {100 * outcome.record.mean:.2f} %")
        self._try_later()

    def _failed(self, number: int, error: UserError) -> None:
        """End a run whose task failed; what other runs wait for is done by one of them."""
        self.failures[number] = error
        if self.names:
            self.progress.say(f"failed: {self.names[number]}: {error}")
        for run in [run for run in self.active if run.number == number]:
            self._close(run)
            run.run.give_up()
            own = [reference for reference, task in self.pending.items() if task.run is run]
            self.cluster.cancel(own)
            for features in run.features.values():
                features.asked = False if features.entry is None else features.asked
        self._try_later()

    def _close(self, run: Sharded) -> None:
        self.active.remove(run)
        run.bars.close()

    def _try_later(self) -> None:
        self.left.extend(self.later)
        self.later.clear()

    def _interrupted(self) -> Interrupted:
        self.cluster.cancel([*self.pending, *self.drawing])
        done = sum(run.interrupted() for run in self.active)
        done += sum(outcome.record.n_episodes for outcome in self.outcomes.values())
        again = "starts anew" if any(run.run.plan.config.overwrite for run in self.active) else "goes on from there"
        runs = f" and {len(self.outcomes)} of {len(self.configs)} runs" if len(self.configs) > 1 else ""
        return Interrupted(f"interrupted after {done} episodes{runs}; the same command {again}")


def carry_out(
    configs: Sequence[RunConfig], names: Sequence[str], cluster: Cluster, progress: Progress
) -> tuple[list[Outcome], UserError | None]:
    """Do every run on a cluster.

    Args:
        configs: the runs.
        names: what they are called; empty for a single run.
        cluster: where they run.
        progress: told of the work.

    Returns:
        The outcomes in the order of the configs, and the error that the command ends with.
    """
    home = temporary_path(make_folder(cache_root()))
    home.touch()
    try:
        sweep = Sweep(configs, names, cluster, progress, home)
        error = sweep.carry_out()
    finally:
        home.unlink(missing_ok=True)
    return [sweep.outcomes[number] for number in sorted(sweep.outcomes)], error


def sweep(
    configs: Sequence[RunConfig], names: Sequence[str], engine: Engine, progress: Progress
) -> tuple[list[Outcome], UserError | None]:
    """Do every run on the cluster that the options name, as `carry_out` does.

    Raises:
        UserError: there is none, or it has not what the runs need (`connected`); or runs classify several views.
    """
    if any(one.views is not None for one in configs):
        raise UsageError("--views: the views of an image are encoded in one process; leave out --engine ray")
    with connected(engine.address, engine.workers, configs[0].device) as cluster:
        return carry_out(configs, names, cluster, progress)
