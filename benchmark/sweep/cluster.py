"""Tasks on Ray, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...core.errors import UserError, one_line
from .parcels import Parcel
from .worker import Answer, Job, Plugin, digests, encode, work

Reference = Any  # of Ray: to a value, or to the values that a task yields


@dataclass(frozen=True)
class Sent:
    """A run at the cluster.

    Attributes:
        job: reference of the job.
        network: reference of the network.
        plugins: files of plug-ins, which workers import first.
    """

    job: Reference
    network: Reference
    plugins: tuple[Plugin, ...]


class Cluster:
    """Ray, connected.

    Attributes:
        slots: number of tasks at once.
        gpu: whether each task has a GPU.
    """

    def __init__(self, ray: Any, slots: int, gpu: bool) -> None:
        """Take a connection."""
        self.ray, self.slots, self.gpu = ray, slots, gpu
        resources = {"num_cpus": 1, "num_gpus": 1 if gpu else 0}
        self._task = ray.remote(**resources, max_retries=3)(_task)
        self._digests = ray.remote(num_cpus=1, max_retries=3, num_returns="streaming")(digests)
        self._counter: Any = None  # of encoded images, in a process of its own, from the first encoding on
        self._asked: Reference | None = None

    def put(self, value: object) -> Reference:
        """Give a value to the cluster; a machine fetches it once."""
        return self.ray.put(value)

    def submit(
        self,
        function: Callable[..., Any],
        sent: Sent,
        needs: Sequence[str],
        parcels: Mapping[str, Reference],
        arguments: Sequence[Any],
    ) -> Reference:
        """Start a task; the arguments are those of `worker.work`."""
        # References in lists are fetched by the task itself, where it needs the values.
        held = {entry: [parcel] for entry, parcel in parcels.items()}
        counter = self._counter = self._counter or (_counter(self.ray) if function is encode else None)
        return self._task.remote(function, sent.plugins, held, list(needs), [sent.job, sent.network], list(arguments), counter)

    def draw(self, sent: Sent, pickled: bytes, points: Sequence[int]) -> Reference:
        """Start a task that yields digests of a run's episodes (`worker.digests`)."""
        return self._digests.remote(sent.plugins, pickled, list(points))

    def wait(self, references: Sequence[Reference]) -> list[Reference]:
        """Those of the references that have an answer; an empty list where none has after a second."""
        first, _ = self.ray.wait(list(references), num_returns=1, timeout=1.0, fetch_local=False)
        if not first:
            return []
        ready, _ = self.ray.wait(list(references), num_returns=len(references), timeout=0, fetch_local=False)
        return ready or first

    def answer(self, reference: Reference) -> Answer:
        """The answer of a task that has one."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return Answer(error=UserError(_told(error)))

    def drawn(self, reference: Reference) -> tuple[int, str] | None:
        """The next digest of a task that has one; None at its end.

        Raises:
            UserError: the task failed.
        """
        try:
            return self.ray.get(next(reference))
        except StopIteration:
            return None
        except self.ray.exceptions.RayError as error:
            raise UserError(_told(error)) from error

    def encoded(self, references: Sequence[Reference]) -> dict[Reference, int]:
        """The number of images that tasks have encoded so far; of none where no answer on that is there yet."""
        if not references or self._counter is None:
            return {}
        self._asked = self._asked or self._counter.counts.remote()
        if not self.ray.wait([self._asked], timeout=0)[0]:
            return {}
        asked, self._asked = self._asked, None
        with suppress(self.ray.exceptions.RayError):
            counts = self.ray.get(asked)
            return {one: counts[number] for one in references if (number := one.task_id().hex()) in counts}
        return {}

    def cancel(self, references: Sequence[Reference]) -> None:
        """Stop tasks."""
        for reference in references:
            with suppress(Exception):  # one that has ended meanwhile
                self.ray.cancel(reference)


def _task(
    function: Callable[..., Any],
    plugins: Sequence[Plugin],
    parcels: Mapping[str, list[Reference]],
    needs: Sequence[str],
    sent: Sequence[Reference],
    arguments: Sequence[Any],
    counter: Any,
) -> Answer:
    """Do a task in a worker's process."""
    import ray

    def count(images: int) -> None:
        if counter is not None:
            counter.set.remote(ray.get_runtime_context().get_task_id(), images)

    def fetched(reference: Reference) -> Callable[[], Any]:
        return lambda: ray.get(reference)

    fetching: dict[str, Callable[[], Parcel]] = {entry: fetched(parcel[0]) for entry, parcel in parcels.items()}
    job: tuple[str, Callable[[], Job], Callable[[], nn.Module]] = (sent[0].hex(), fetched(sent[0]), fetched(sent[1]))
    return work(function, plugins, fetching, needs, job, arguments, count)


def _counter(ray: Any) -> Any:
    """Start what counts encoded images, by the number of the task."""

    class Counter:  # it travels by value: its process does not have to import fewbench
        def __init__(self) -> None:
            self.images: dict[str, int] = {}

        def set(self, task: str, images: int) -> None:
            self.images[task] = images

        def counts(self) -> dict[str, int]:
            return self.images

    return ray.remote(num_cpus=0)(Counter).remote()


def _told(error: Exception) -> str:
    """An error of Ray, or of a task, in one line."""
    name = type(error).__name__
    if name in ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError"):
        return f"its worker was killed again and again ({name}); it may need more memory than there is"
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, UserError):
        return str(cause)
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return one_line(f"a task failed: {type(cause).__name__}: {lines[-1].strip() if lines else name}")
