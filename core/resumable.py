"""A folder that takes a while to make: by one process at a time, resumed after an interruption, there at once or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .files import cache_root, make_folder, os_errors_named, remove_folder, write_atomically

STATE = "unfinished.json"


@contextmanager
def alone(folder: Path, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time make `folder`.

    Args:
        folder: below the cache folder.
        say_waiting: called once where another process is at it, before waiting for its end.

    Raises:
        UserError: the cache folder cannot be written.
    """
    name = "-".join(folder.relative_to(cache_root()).parts)
    path = make_folder(cache_root() / "locks") / f"{name}.lock"
    lock = FileLock(path)
    with os_errors_named(f"cannot lock {path}"):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say_waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass
class Unfinished:
    """A folder in the making.

    Attributes:
        folder: where it is made, with what an interrupted earlier attempt left.
        plan: what is made; work towards another plan is thrown away.
        done: how far the earlier attempt came; 0 in an empty folder.
    """

    folder: Path
    plan: str
    done: int

    def reached(self, done: int) -> None:
        """Note that everything up to `done` is safely on the disk."""
        self.done = done
        write_atomically(self.folder / STATE, json.dumps({"plan": self.plan, "done": done}).encode())


def unfinished_folder(final: Path) -> Path:
    """Where `final` is made."""
    return final.parent / f".{final.name}.unfinished"


@contextmanager
def resumable_folder(final: Path, plan: str) -> Iterator[Unfinished]:
    """Make a folder that appears at `final` when the block ends well, in place of an older one.

    An error in the block removes what was made. Ctrl-C and a killed process leave it hidden beside `final`, and the next
    attempt with the same plan goes on from there. To be called by one process at a time (`alone`).

    Args:
        final: the folder to make.
        plan: what is made, as a hash.

    Raises:
        UserError: it cannot be written, or the disk is full.
    """
    folder = unfinished_folder(final)
    done = _done(folder, plan)
    try:
        with os_errors_named(f"cannot write {final}"):
            if done == 0:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            yield Unfinished(folder, plan, done)
            (folder / STATE).unlink(missing_ok=True)
            remove_folder(final)  # only now: a failure above leaves what was there
            folder.rename(final)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _done(folder: Path, plan: str) -> int:
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return int(state["done"]) if state["plan"] == plan else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
