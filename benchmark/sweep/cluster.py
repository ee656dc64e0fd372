"""Ray: a cluster that is there or a local one, its machines, and tasks on them. No other module imports ray."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...core.errors import UsageError, UserError, listed, one_line
from ..records.provenance import package_version
from .parcels import Parcel
from .worker import Answer, Job, digests, work

ANSWER_SECONDS = 5.0  # that an address has to take a connection
PROBE_SECONDS = 60.0  # that each machine has to start a process and say its versions
# Ray reports nothing to its makers, and gives up on an address after so many seconds.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_NUM_REDIS_GET_RETRIES": "5"}
Reference = Any  # of Ray: to a value, or to the values that a task yields


@dataclass(frozen=True)
class Sent:
    """A run at the cluster.

    Attributes:
        job: reference of the job.
        network: reference of the network.
        plugins: kind and name of what workers load from files.
    """

    job: Reference
    network: Reference
    plugins: tuple[tuple[str, str], ...]


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
        return self._task.remote(function, sent.plugins, held, list(needs), [sent.job, sent.network], list(arguments))

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

    def cancel(self, references: Sequence[Reference]) -> None:
        """Stop tasks."""
        for reference in references:
            with suppress(Exception):  # one that has ended meanwhile
                self.ray.cancel(reference)


def _task(
    function: Callable[..., Any],
    plugins: Sequence[tuple[str, str]],
    parcels: Mapping[str, list[Reference]],
    needs: Sequence[str],
    sent: Sequence[Reference],
    arguments: Sequence[Any],
) -> Answer:
    """Do a task in a worker's process."""
    import ray

    def fetched(reference: Reference) -> Callable[[], Any]:
        return lambda: ray.get(reference)

    fetching: dict[str, Callable[[], Parcel]] = {entry: fetched(parcel[0]) for entry, parcel in parcels.items()}
    job: tuple[str, Callable[[], Job], Callable[[], nn.Module]] = (sent[0].hex(), fetched(sent[0]), fetched(sent[1]))
    return work(function, plugins, fetching, needs, job, arguments)


def _told(error: Exception) -> str:
    """An error of Ray, or of a task, in one line."""
    name = type(error).__name__
    if name in ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError"):
        return f"its worker was killed again and again ({name}); it may need more memory than there is"
    cause = getattr(error, "cause", None) or error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return one_line(f"a task failed: {type(cause).__name__}: {lines[-1].strip() if lines else name}")


@contextmanager
def connected(address: str | None, workers: int | None, device: str) -> Iterator[Cluster]:
    """Connect to a cluster, or start a local one that ends with the block.

    Args:
        address: "auto" or HOST:PORT of a cluster; None starts one on this machine.
        workers: most tasks at once; default: a local cluster has one for each core, and others as many as they have.
        device: of the runs: with "auto" a task has a GPU where the cluster has any, with "cuda" always.

    Raises:
        UsageError: Ray is not installed, or there are fewer GPUs than workers.
        UserError: nobody answers at the address, or a machine has another version of Python or fewbench.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray: Ray is not installed; pip install 'fewbench[ray]'") from None
    if address is not None and address != "auto":
        _check_answers(address)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local: dict[str, Any] = {"address": "local", "num_cpus": workers or cores, "include_dashboard": False}
    options: dict[str, Any] = local if address is None else {"address": address}
    try:
        _start(ray, options, attempts=2 if address is None else 1)
    except Exception as error:  # of many classes, and a plain one where a process did not start in time
        where = "" if address is None else f" --address {address}: is it the head of a Ray cluster, with this RAY_AUTH_MODE?"
        raise UserError(f"--engine ray{where or ':'} {_first_line(error)}") from error
    try:
        if address is not None:
            _check_versions(ray)
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        gpu = device.startswith("cuda") or (device == "auto" and gpus > 0)
        if gpu and gpus < (workers or 1) and device != "auto":
            raise UsageError(f"--device {device}: {workers or 1} workers with a GPU each, and the cluster has {gpus}")
        most = gpus if gpu else int(there.get("CPU", 0))
        yield Cluster(ray, max(1, min(workers or most, most)), gpu)
    finally:
        ray.shutdown()


def _start(ray: Any, options: Mapping[str, Any], attempts: int) -> None:
    """Connect. On a busy machine Ray's own processes may miss the 30 seconds that Ray gives them: it may try again."""
    for left in reversed(range(attempts)):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception:
            ray.shutdown()
            if not left:
                raise


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _check_answers(address: str) -> None:
    """Check that somebody takes connections at an address.

    Raises:
        UsageError: it is no HOST:PORT.
        UserError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--address {address}: expected auto, or HOST:PORT of the head of a cluster, as ray start printed it")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(f"--address {address}: nobody answers ({error.strerror or error})") from None


def _check_versions(ray: Any) -> None:
    """Check that every machine has this Python and this fewbench.

    Raises:
        UserError: one has others; the line names both.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def versions() -> tuple[str, str | None]:  # it travels by value: fewbench may not be there
        import platform
        from importlib.metadata import PackageNotFoundError, version

        try:
            return platform.python_version(), version("fewbench")
        except PackageNotFoundError:
            return platform.python_version(), None

    here = platform.python_version(), package_version()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    task = ray.remote(num_cpus=0, max_retries=0)(versions)
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote() for node in nodes
    ]
    try:
        found = ray.get(asked, timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise UserError(f"a machine of the cluster does not answer: {_told(error)}") from error
    wrong = []
    for node, there in zip(nodes, found, strict=True):
        for name, mine, theirs in zip(("Python", "fewbench"), here, there, strict=True):
            if mine != theirs:
                wrong.append(f"{node['NodeManagerAddress']} has {f'{name} {theirs}' if theirs else f'no {name}'}")
    if wrong:
        raise UserError(f"{listed(wrong)}, and this machine has Python {here[0]} and fewbench {here[1] or 'not installed'}")
