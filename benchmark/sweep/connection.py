"""Connections to Ray: a cluster that is there, whose machines are checked, or a local one."""

from __future__ import annotations

import logging
import os
import platform
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...core.errors import UsageError, UserError, listed
from ..records.provenance import package_version
from .cluster import Cluster

ANSWER_SECONDS = 5.0  # that an address has to take a connection, and then to answer
# The head of a cluster speaks HTTP/2, in which both sides begin with a frame of settings; these are empty ones.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
PROBE_SECONDS = 60.0  # that each machine has to start a process and say its versions
MOST_TOLD = 300  # characters of an error of Ray, which may go on for a page
# Ray reports nothing to its makers, and gives up on an address after so many seconds.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_NUM_REDIS_GET_RETRIES": "5"}


def reachable(address: str | None) -> Any:
    """The package ray, where it is installed and somebody answers at the address.

    Raises:
        UsageError: Ray is not installed, or the address is none.
        UserError: nobody answers.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray: Ray is not installed; pip install 'fewbench[ray]'") from None
    if address == "auto":
        address = _last_started()
    if address is not None:
        _check_answers(address)
    return ray


def _last_started() -> str | None:
    """The address of the cluster that this machine joined last, where Ray has noted it; a cluster that is gone stays there."""
    note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    with suppress(OSError):
        return os.environ.get("RAY_ADDRESS") or note.read_text(encoding="utf-8").strip() or None
    return None


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
    ray = reachable(address)
    if address is None:
        _check_gpus(device, workers, torch.cuda.device_count())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    start = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if address is None:
        start = partial(start, num_cpus=workers or cores, include_dashboard=False)
    try:
        _start(ray, partial(start, address=address or "local"), attempts=2 if address is None else 1)
    except Exception as error:  # of many classes, and a plain one where a process did not start in time
        where = "" if address is None else f" --address {address}: is it the head of a Ray cluster, with this RAY_AUTH_MODE?"
        raise UserError(f"--engine ray{where or ':'} {_in_line(error)}") from error
    try:
        if address is not None:
            _check_versions(ray)
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        _check_gpus(device, workers, gpus)
        gpu = device.startswith("cuda") or (device == "auto" and gpus > 0)
        most = gpus if gpu else int(there.get("CPU", 0))
        yield Cluster(ray, max(1, min(workers or most, most)), gpu)
    finally:
        ray.shutdown()


def _check_gpus(device: str, workers: int | None, there: int) -> None:
    """Check that there is a GPU for each worker where the user asks for GPUs.

    Raises:
        UsageError: there are fewer.
    """
    if device.startswith("cuda") and there < (workers or 1):
        raise UsageError(
            f"--device {device} takes a GPU for each worker: {workers or 1} are asked for, and the cluster has {there}"
        )


def _start(ray: Any, start: Callable[[], object], attempts: int) -> None:
    """Connect. On a busy machine Ray's own processes may miss the 30 seconds that Ray gives them: it may try again."""
    for left in reversed(range(attempts)):
        try:
            start()
            return
        except Exception:
            ray.shutdown()
            if not left:
                raise


def _in_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MOST_TOLD] or type(error).__name__


def _check_answers(address: str) -> None:
    """Check that somebody answers at an address.

    Raises:
        UsageError: it is no HOST:PORT.
        UserError: nobody does, or not as the head of a cluster.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--address {address}: expected auto, or HOST:PORT of the head of a cluster, as ray start printed it")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as there:
            there.sendall(HELLO)
            answer = there.recv(len(HELLO))
    except OSError as error:
        raise UserError(f"--address {address}: nobody answers ({error.strerror or error})") from None
    if answer[3:4] != b"\4" and "RAY_USE_TLS" not in os.environ:  # which answers after a handshake alone
        raise UserError(f"--address {address}: what answers there is no Ray cluster")


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
        raise UserError(f"a machine of the cluster does not answer: {_in_line(error)}") from error
    wrong = []
    for node, there in zip(nodes, found, strict=True):
        for name, mine, theirs in zip(("Python", "fewbench"), here, there, strict=True):
            if mine != theirs:
                wrong.append(f"{node['NodeManagerAddress']} has {f'{name} {theirs}' if theirs else f'no {name}'}")
    if wrong:
        raise UserError(f"{listed(wrong)}, and this machine has Python {here[0]} and fewbench {here[1] or 'not installed'}")
